"""Events are there when their process is killed, and are read while others are written."""

from __future__ import annotations

from pathlib import Path

from forebay.clock import ManualClock
from forebay.lab.events import DIRECTORY, Event, EventLog, EventReader, Kind


def test_an_event_is_read_as_it_was_written(tmp_path: Path) -> None:
    EventLog(tmp_path, "worker", ManualClock(5_000)).write(
        Kind.RECEIVED, queue="orders", message="m-1", id="o-1", receives=2
    )
    reader = EventReader(tmp_path)
    assert reader.read() == [
        Event(
            at_ms=5_000,
            kind=Kind.RECEIVED,
            process="worker",
            queue="orders",
            message="m-1",
            id="o-1",
            receives=2,
        )
    ]
    assert reader.read() == []


def test_half_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    log = EventLog(tmp_path, "worker", ManualClock())
    log.write(Kind.NOTE, text="Götterdämmerung\nsecond line")
    path = tmp_path / DIRECTORY / "worker.jsonl"
    line = path.read_bytes()
    path.write_bytes(line + line[:20])
    reader = EventReader(tmp_path)
    assert len(reader.read()) == 1
    path.write_bytes(line + line)
    assert [event.text for event in reader.read()] == ["Götterdämmerung\nsecond line"]
    assert len(reader.events) == 2


def test_each_process_has_a_file_and_one_that_is_started_again_goes_on_with_it(
    tmp_path: Path,
) -> None:
    for process, text in (("a", "1"), ("b", "2"), ("a", "3")):
        log = EventLog(tmp_path, process, ManualClock())
        log.write(Kind.NOTE, text=text)
        log.close()
    assert [(each.process, each.text) for each in EventReader(tmp_path).read()] == [
        ("a", "1"),
        ("a", "3"),
        ("b", "2"),
    ]
