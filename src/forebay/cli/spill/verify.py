"""`forebay spill verify`: whether all of a spill directory can be read."""

from __future__ import annotations

import typer

from forebay.cli.spill.directory import Directory
from forebay.producer.spill.inspection import Look, spill_directories


def verify(directory: Directory) -> None:
    """Read all of a spill directory and check every byte of it.

    It says what is damaged, and ends with 1 when anything is. It changes
    nothing: the producer sets aside and counts what is damaged when it comes
    to it.

        forebay spill verify /var/spool/forebay
    """
    damaged = False
    for each in spill_directories(directory):
        report = Look(each).report()
        typer.echo(
            f"{each}: records {report.records:,}, events {report.account.waiting:,},"
            f" {'damaged' if report.damages else 'nothing damaged'}"
        )
        for damage in report.damages:
            typer.echo(f"  {damage}")
        damaged = damaged or bool(report.damages)
    if damaged:
        raise typer.Exit(1)
