"""`forebay spill export`: what waits in a spill directory, as envelopes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
import typer
from msgspec import Raw, Struct

from forebay.cli.spill.directory import Directory
from forebay.errors import ForebayError
from forebay.messages.envelope import encode_envelope_utf8, envelope_timestamp
from forebay.messages.packing import open_pack
from forebay.producer.entry import Entry, decode_entry
from forebay.producer.spill.inspection import Look, spill_directories


class _Row(Struct, array_like=True):
    """An event of a pack."""

    at_ms: int
    payload: Raw
    key: str | None = None


_decode_row = msgspec.json.Decoder(_Row).decode


def export(
    directory: Directory,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Write there, not to standard output."),
    ] = None,
) -> None:
    """Write what waits in a spill directory as envelopes, one line of JSON for each.

    Packs are unpacked. The directory is left as it is, so a producer that
    opens it later sends the same once more: remove it if you bring the lines
    home in another way.

        forebay spill export /var/spool/forebay --output logs.jsonl

    What is damaged is skipped, and counted on standard error.
    """
    directories = spill_directories(directory)
    if output is None:
        _write(directories, sys.stdout.buffer)
        return
    with output.open("wb") as file:
        _write(directories, file)


def _write(directories: list[Path], file: BinaryIO) -> None:
    written = corrupt = unreadable = 0
    for directory in directories:
        look = Look(directory)
        for record in look.records():
            try:
                lines = list(_lines(decode_entry(record.data)))
            except (ForebayError, msgspec.MsgspecError, UnicodeDecodeError) as error:
                typer.echo(f"{record.id} is skipped: {error}", err=True)
                unreadable += record.events
                continue
            file.writelines(line + b"\n" for line in lines)
            written += len(lines)
        corrupt += look.corrupt
    file.flush()
    typer.echo(
        f"{written:,} envelopes written, {corrupt + unreadable:,} events skipped as damaged.",
        err=True,
    )


def _lines(entry: Entry) -> Iterator[bytes]:
    if entry.pack is None:
        yield entry.body.replace(b"\n", b" ")
        return
    opened = open_pack(entry.body.decode(), entry.pack)
    for index, line in enumerate(opened.lines.split(b"\n")):
        row = _decode_row(line)
        yield encode_envelope_utf8(
            f"{opened.header.pack}-{index}",
            opened.header.type,
            envelope_timestamp(row.at_ms),
            opened.header.node,
            row.payload,
            key=row.key,
        )
