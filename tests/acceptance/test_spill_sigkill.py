"""A process that spills is killed at any moment, and the next one finds all that it kept."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from forebay.producer.spill import Spill
from tests.acceptance import spill_program

KILLS = 10


def killed(directory: Path, first: int, lines: int) -> list[str]:
    """What a process said that was killed after some lines: a busy machine has no say in it."""
    program = [sys.executable, spill_program.__file__, str(directory), str(first)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        said += process.stdout.readlines()
    assert process.returncode == -9
    # The last line may be half a line.
    return [line.strip() for line in said if line.endswith("\n")]


def test_nothing_kept_is_lost_and_nothing_done_comes_back(tmp_path: Path) -> None:
    directory = tmp_path / "spill"
    kept: set[str] = set()
    done: set[str] = set()
    for kill in range(KILLS):
        for line in killed(directory, kill * 10**6, random.randrange(1, 200)):
            said, _, name = line.partition(" ")
            (kept if said == "kept" else done).add(name)
    spill = Spill.open(directory, spill_program.LIMITS)
    found = {record.id for _, record in spill.read(10**9)}
    account = spill.account
    assert len(kept) > KILLS
    # What was marked and not said to be done yet is neither; a batch of one read for each kill.
    marked = account.acknowledged // spill_program.EVENTS - len(done)
    assert 0 <= marked <= KILLS * spill_program.READ_MOST
    assert len(kept - done - found) <= marked
    assert not done & found
    assert account.waiting == spill_program.EVENTS * len(found)
    assert account.corrupt <= KILLS * spill_program.EVENTS * spill_program.APPENDED, "torn appends"
    spill.close()
