"""`forebay profile`: one file for each of its subcommands."""
