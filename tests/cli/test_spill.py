"""`forebay spill`, as a user runs it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.messages.envelope import decode_envelope, encode_envelope_utf8, envelope_timestamp
from forebay.messages.packing import seal
from forebay.producer.entry import Entry, encode_entry
from forebay.producer.spill import Spill, SpillLimits, SpillRecord
from forebay.producer.spill.format import HEADER_BYTES
from tests.cli.conftest import Run

LIMITS = SpillLimits(bytes_max=10**6, segment_bytes=1_000)

#: 2026-11-28 12:00:00 UTC.
NOON = 1_795_867_200_000


def pack(number: int) -> SpillRecord:
    """Three events, the second with a key."""
    name = f"pack{number}"
    sealed = seal(
        [
            b'[%d,{"n":1}]' % NOON,
            b'[%d,{"n":2},"k"]' % (NOON + 1),
            b'[%d,{"n":"\xc3\xa4"}]' % (NOON + 2),
        ],
        identifier=name,
        type="usage_log",
        node="host-1",
        first_ms=NOON,
        last_ms=NOON + 2,
    )
    entry = Entry(name, sealed.body, events=3, pack=sealed.content)
    return SpillRecord(name, 3, NOON, NOON + 2, encode_entry(entry))


def single(number: int) -> SpillRecord:
    name = f"single{number}"
    body = encode_envelope_utf8(name, "order", envelope_timestamp(NOON), "host-1", {"seat": 4})
    return SpillRecord(name, 1, NOON, NOON, encode_entry(Entry(name, body)))


@pytest.fixture
def spill(tmp_path: Path) -> Iterator[Spill]:
    """Three packs of three events and two single envelopes; one pack was sent."""
    spill = Spill.open(tmp_path / "spill", LIMITS)
    spill.append([pack(0), single(0), pack(1), single(1), pack(2)])
    spill.acknowledge([spill.read(1)[0][0]])
    yield spill
    spill.close()


def damage(directory: Path) -> None:
    """Flip a bit in the first record of the last segment."""
    path = max(directory.glob("*.spill"))
    data = bytearray(path.read_bytes())
    data[HEADER_BYTES * 2 + 20] ^= 1
    path.write_bytes(data)


def test_inspect_shows_account_and_segments_while_a_producer_runs(run: Run, spill: Spill) -> None:
    before = {path: path.read_bytes() for path in spill.directory.iterdir()}
    ended = run("spill", "inspect", str(spill.directory))
    assert (ended.code, ended.err) == (0, "")
    assert "used by process" in ended.out
    assert (
        "events: 11 appended = 3 acknowledged + 0 corrupt + 0 dropped to make room + 8 waiting"
    ) in ended.out
    assert "waiting: records 4, bytes " in ended.out
    assert "from 2026-11-28 12:00:00.000 to 2026-11-28 12:00:00.002 UTC" in ended.out
    for path in spill.directory.glob("*.spill"):
        assert path.name in ended.out
    assert {path: path.read_bytes() for path in spill.directory.iterdir()} == before
    spill.append([single(9)])


def test_inspect_knows_whether_a_process_uses_it(run: Run, spill: Spill) -> None:
    assert f"used by process {os.getpid()}" in run("spill", "inspect", str(spill.directory)).out
    spill.close()
    assert "used by no process" in run("spill", "inspect", str(spill.directory)).out
    for left in ("999999999", "0", "-1", "10" * 50, "?", ""):
        (spill.directory / "lock").write_text(left)
        assert "used by no process" in run("spill", "inspect", str(spill.directory)).out


def test_inspect_as_json(run: Run, spill: Spill) -> None:
    (report,) = json.loads(run("spill", "inspect", str(spill.directory), "--json").out)
    account = spill.account
    assert report["account"] == {name: getattr(account, name) for name in account.__struct_fields__}
    assert report["records"] == 4
    assert sum(segment["events"] for segment in report["segments"]) == 8
    assert (report["first_ms"], report["last_ms"]) == (NOON, NOON + 2)


def test_verify_says_that_all_is_well(run: Run, spill: Spill) -> None:
    ended = run("spill", "verify", str(spill.directory))
    assert ended == (0, f"{spill.directory}: records 4, events 8, nothing damaged\n", "")


def test_verify_says_what_is_damaged_and_ends_with_1(run: Run, spill: Spill) -> None:
    spill.close()
    damage(spill.directory)
    ended = run("spill", "verify", str(spill.directory))
    assert ended.code == 1
    first, *damages = ended.out.splitlines()
    assert first.endswith("damaged")
    assert len(damages) == 2
    assert "damaged bytes at 48: " in ended.out
    assert "events that cannot be read: " in ended.out
    inspected = run("spill", "inspect", str(spill.directory))
    assert inspected.code == 0
    assert "damaged: " in inspected.out
    again = Spill.open(spill.directory, LIMITS)
    while again.read(10_000):
        pass
    (report,) = json.loads(run("spill", "inspect", str(spill.directory), "--json").out)
    assert report["account"]["corrupt"] == again.account.corrupt > 0
    assert report["quarantined"] == 1
    again.close()


def test_export_unpacks_what_waits(run: Run, spill: Spill, tmp_path: Path) -> None:
    ended = run("spill", "export", str(spill.directory))
    assert ended.code == 0
    assert ended.err == "8 envelopes written, 0 events skipped as damaged.\n"
    envelopes = [decode_envelope(line) for line in ended.out.splitlines()]
    assert [envelope.id for envelope in envelopes] == [
        "single0",
        *(f"pack1-{n}" for n in range(3)),
        "single1",
        *(f"pack2-{n}" for n in range(3)),
    ]
    second = envelopes[2]
    assert (second.type, second.node, second.key) == ("usage_log", "host-1", "k")
    assert second.timestamp == "2026-11-28T12:00:00.001Z"
    assert json.loads(bytes(envelopes[3].payload)) == {"n": "ä"}
    file = tmp_path / "out.jsonl"
    ended = run("spill", "export", str(spill.directory), "--output", str(file))
    assert ended.out == ""
    assert len(file.read_text().splitlines()) == 8


def test_export_skips_and_counts_what_is_damaged(run: Run, spill: Spill) -> None:
    spill.append([SpillRecord("odd", 5, 0, 0, b"no entry")])
    spill.close()
    damage(spill.directory)
    ended = run("spill", "export", str(spill.directory))
    assert ended.code == 0
    lines = len(ended.out.splitlines())
    assert 0 < lines < 13
    assert ended.err.endswith(
        f"{lines} envelopes written, {13 - lines} events skipped as damaged.\n"
    )


def test_slots_are_shown_each(run: Run, tmp_path: Path) -> None:
    spills = [Spill.open_slot(tmp_path, LIMITS) for _ in range(3)]
    for spill in spills:
        spill.append([pack(1)])
    ended = run("spill", "verify", str(tmp_path))
    assert [line.split(":")[0] for line in ended.out.splitlines()] == [
        str(tmp_path / str(n)) for n in range(3)
    ]
    assert len(run("spill", "export", str(tmp_path)).out.splitlines()) == 9
    for spill in spills:
        spill.close()


@pytest.mark.parametrize("command", ["inspect", "verify", "export"])
def test_a_directory_without_a_spill(run: Run, tmp_path: Path, command: str) -> None:
    ended = run("spill", command, str(tmp_path))
    assert (ended.code, ended.out) == (1, "")
    assert "holds no spill. Name the directory that the producer was given" in ended.err
    ended = run("spill", command, str(tmp_path / "nowhere"))
    assert (ended.code, ended.out) == (1, "")
    assert "nowhere cannot be read: No such file or directory." in ended.err


def test_an_append_under_way_is_no_damage(run: Run, spill: Spill) -> None:
    path = max(spill.directory.glob("*.spill"))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[HEADER_BYTES : HEADER_BYTES + 70])
    assert run("spill", "verify", str(spill.directory)).code == 0
