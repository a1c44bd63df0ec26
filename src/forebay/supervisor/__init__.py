"""`forebay worker run` without its command line: processes, and one port for all of them."""
