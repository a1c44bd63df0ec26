"""A crash before every single step, with every write torn and every rename undone or not."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from forebay.producer.spill import Spill, SpillLimits, SpillToken
from tests.spill.disk import Crash, Disk
from tests.spill.records import (
    LIMITS,
    NEWEST,
    OLDEST,
    assert_adds_up,
    opened,
    record,
)


class Life:
    """What a process did with a spill, as far as it knows: it may die in the middle of a call."""

    def __init__(self) -> None:
        self.next = 0
        #: Records whose append returned, and that of the append under way.
        self.appended: set[str] = set()
        self.appending: set[str] = set()
        self.acknowledged: set[str] = set()
        self.acknowledging: set[str] = set()
        #: Events that append said were dropped.
        self.lost_events = 0
        self.checkpoints: list[bytes | None] = [None]

    def append(self, spill: Spill, count: int, size: int = 100) -> None:
        made = [record(self.next + n, size=size) for n in range(count)]
        self.next += count
        self.appending = {one.id for one in made}
        self.lost_events += sum(lost.events for lost in spill.append(made))
        self.appended |= self.appending
        self.appending = set()

    def acknowledge(self, spill: Spill, taken: list[tuple[SpillToken, str]]) -> None:
        names = {name for _, name in taken}
        self.acknowledging |= names
        spill.acknowledge(token for token, _ in taken)
        self.acknowledged |= names
        self.acknowledging -= names

    def checkpoint(self, spill: Spill, data: bytes) -> None:
        self.checkpoints.append(data)
        spill.checkpoint(data)
        self.checkpoints = [data]


def read(spill: Spill, bytes_max: int) -> list[tuple[SpillToken, str]]:
    return [(token, found.id) for token, found in spill.read(bytes_max)]


def live(disk: Disk, limits: SpillLimits, life: Life) -> None:
    """A bit of everything."""
    spill = opened(disk, limits)
    life.append(spill, 3)
    life.checkpoint(spill, b"first")
    life.append(spill, 8)
    taken = read(spill, 900)
    life.acknowledge(spill, taken[1:4])
    life.append(spill, 1, size=1_500)
    spill.hand_back(token for token, _ in taken[:1])
    life.append(spill, 5)
    life.acknowledge(spill, read(spill, 700) + taken[4:])
    life.append(spill, 12)
    life.checkpoint(spill, b"second")
    life.acknowledge(spill, read(spill, 1_000))
    spill.close()
    spill = opened(disk, limits)
    life.acknowledge(spill, read(spill, 1_500))
    life.append(spill, 4)
    life.acknowledge(spill, read(spill, 100_000))
    life.append(spill, 2)
    spill.close()


def check(disk: Disk, limits: SpillLimits, life: Life) -> None:
    """Reopen, read everything twice, and settle everything."""
    spill = opened(disk, limits)
    assert_adds_up(spill.account)
    assert spill.checkpoint_data in life.checkpoints
    taken = read(spill, 10**9)
    found = [name for _, name in taken]
    assert len(found) == len(set(found)), "none twice"
    assert not set(found) & life.acknowledged, "what was acknowledged is back"
    assert set(found) <= life.appended | life.appending
    account = spill.account
    assert_adds_up(account)
    kept = life.appended - life.acknowledged - life.acknowledging - set(found)
    if limits is LIMITS:
        assert not kept
    elif not life.appending:
        assert 3 * len(kept) <= life.lost_events, "what is missing was said to be dropped"
    assert account.corrupt <= 3 * len(life.appending), "only an append under way is torn"
    assert account.waiting == 3 * len(found)
    assert account.acknowledged <= 3 * len(life.acknowledged | life.acknowledging)
    assert account.acknowledged >= 3 * len(life.acknowledged)
    spill.hand_back(token for token, _ in taken)
    taken = read(spill, 10**9)
    assert [name for _, name in taken] == found
    life.acknowledge(spill, taken)
    life.append(spill, 1)
    account = spill.account
    assert account.waiting == 3
    spill.close()
    again = opened(disk, limits)
    assert again.account.acknowledged == account.acknowledged
    assert [name for _, name in read(again, 10**9)] == [f"r{life.next - 1}"]
    again.close()


def steps_of(run: Callable[[Disk], None], disk: Disk) -> int:
    run(disk)
    return len(disk.steps)


@pytest.mark.parametrize("limits", [LIMITS, NEWEST, OLDEST], ids=["roomy", "newest", "oldest"])
@pytest.mark.parametrize("seed", range(6))
def test_a_crash_at_every_step(limits: SpillLimits, seed: int) -> None:
    steps = steps_of(lambda disk: live(disk, limits, Life()), Disk())
    assert steps > 100
    random = Random(seed)
    for at in range(steps):
        disk, life = Disk(), Life()
        disk.crash_at = at
        with pytest.raises(Crash):
            live(disk, limits, life)
        check(disk.killed() if seed == 0 else disk.crashed(random), limits, life)


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_and_then_a_power_cut(seed: int) -> None:
    """What the killed process wrote and did not sync is there until the power is cut."""
    random = Random(seed)
    for at in range(steps_of(lambda disk: live(disk, LIMITS, Life()), Disk())):
        disk, life = Disk(), Life()
        disk.crash_at = at
        with pytest.raises(Crash):
            live(disk, LIMITS, life)
        disk = disk.killed()
        spill = opened(disk)
        # What is read now was promised to nobody, and counts from here on.
        taken = read(spill, 10**9)
        life.appended |= {name for _, name in taken}
        life.acknowledge(spill, taken[: len(taken) // 2])
        life.append(spill, 3)
        corrupt = spill.account.corrupt
        disk = disk.crashed(random)
        spill = opened(disk)
        read(spill, 10**9)
        assert spill.account.corrupt == corrupt
        spill.close()
        check(disk, LIMITS, life)


@pytest.mark.parametrize("seed", range(3))
def test_a_crash_while_recovering_from_a_crash(seed: int) -> None:
    random = Random(seed)
    steps = steps_of(lambda disk: live(disk, OLDEST, Life()), Disk())
    for at in range(0, steps, 5):
        life = Life()
        disk = Disk()
        disk.crash_at = at
        with pytest.raises(Crash):
            live(disk, OLDEST, life)
        disk = disk.crashed(random)
        for again in range(0, 60, 4):
            disk.crash_at = again
            try:
                spill = opened(disk, OLDEST)
                read(spill, 2_000)
                spill.close()
            except Crash:
                pass
            disk = disk.crashed(random)
        check(disk, OLDEST, life)
