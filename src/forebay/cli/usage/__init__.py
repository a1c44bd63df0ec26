"""`forebay usage`: one file for each of its subcommands."""
