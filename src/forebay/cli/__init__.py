"""The `forebay` command: one file for each of its subcommands."""
