"""`forebay worker`: one file for each of its subcommands."""
