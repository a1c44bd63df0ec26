"""Statements that SQLite and PostgreSQL both take, and the files that make their tables."""
