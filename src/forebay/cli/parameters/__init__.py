"""`forebay parameters`: one file for each of its subcommands."""
