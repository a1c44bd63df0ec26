"""`forebay spill`: one file for each of its subcommands."""
