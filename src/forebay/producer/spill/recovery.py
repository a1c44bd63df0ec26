"""What a directory holds when it is opened, whatever its last process left."""

from __future__ import annotations

import logging
from errno import EIO
from pathlib import Path

from msgspec import Struct

from forebay.errors import in_words
from forebay.producer.spill.checkpoint import (
    CHECKPOINT_FILE,
    CheckpointDamaged,
    read_checkpoint,
)
from forebay.producer.spill.files import Files
from forebay.producer.spill.marks import MARKS_FILE, MarksFile, Settled, read_marks
from forebay.producer.spill.quarantine import Quarantine
from forebay.producer.spill.segments import Segment, end_of, find_segments

_log = logging.getLogger(__name__)


class Recovered(Struct, frozen=True):
    """A directory's state."""

    segments: list[Segment]
    settled: Settled
    marks: MarksFile
    checkpoint: bytes | None


def recover(files: Files, directory: Path, quarantine: Quarantine) -> Recovered:
    """Read a directory that is locked. Raises OSError, and SpillTooNew.

    Damage does not stop it: what cannot be read is set aside and logged, and what it held shows as
    a gap in the ordinals.
    """
    found = find_segments(files, directory)
    for path in found.foreign:
        _log.warning("%s is no segment of a spill, or wholly damaged. It is set aside.", path)
        quarantine.take(path)
    segments = found.segments
    settled = _settled(files, directory)
    if settled is None:
        # Not at the first time that there is a spill.
        if segments or MARKS_FILE in files.names(directory):
            _log.warning(
                "The account of the spill directory %s is gone. It begins anew with what waits"
                " there, some of which may have been sent.",
                directory,
            )
            quarantine.take(directory / MARKS_FILE)
        settled = Settled(segments[0].first if segments else 0)
    if segments:
        last = segments[-1]
        # What its process wrote and did not sync may be in memory alone.
        _sync(files, last.path)
        settled.end = max(settled.end, end_of(files, last))
        last.stop = max(settled.end, last.first)
    checkpoint = _checkpoint(files, directory, quarantine)
    marks = MarksFile(files, directory)
    try:
        marks.write_anew(settled)
    except OSError as error:
        try:
            marks.go_on()
        except FileNotFoundError:
            raise error from None
    return Recovered(segments, settled, marks, checkpoint)


def _settled(files: Files, directory: Path) -> Settled | None:
    try:
        return read_marks(files, directory)
    except OSError as error:
        if error.errno != EIO:
            raise
        return None


def _checkpoint(files: Files, directory: Path, quarantine: Quarantine) -> bytes | None:
    path = directory / CHECKPOINT_FILE
    try:
        return read_checkpoint(files, directory)
    except CheckpointDamaged:
        _log.warning("The checkpoint %s is damaged. It is set aside.", path)
    except OSError as error:
        if error.errno != EIO:
            raise
        _log.warning(
            "The checkpoint %s cannot be read (%s). It is set aside.", path, in_words(error)
        )
    quarantine.take(path)
    return None


def _sync(files: Files, path: Path) -> None:
    handle = files.open(path)
    try:
        files.sync(handle)
    finally:
        files.close(handle)
