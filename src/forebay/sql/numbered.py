"""The SQL files that bring a database to the form that this version knows."""

from __future__ import annotations

from importlib.resources import files


def numbered_sql(package: str) -> list[tuple[int, str]]:
    """The files `sql/NNNN_*.sql` of a package: each one's number and text, in order."""
    directory = files(package) / "sql"
    names = sorted(each.name for each in directory.iterdir() if each.name.endswith(".sql"))
    return [(int(name[:4]), (directory / name).read_text(encoding="utf-8")) for name in names]
