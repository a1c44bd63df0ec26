"""Any order of calls, crashes, faults and damage."""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from forebay.producer.settings import SpillFull
from forebay.producer.spill import LostReason, Spill, SpillError, SpillLimits, SpillToken
from forebay.producer.spill.format import segment_key
from tests.spill.disk import Disk
from tests.spill.records import DIRECTORY, assert_adds_up, opened, record


class SpillMachine(RuleBasedStateMachine):
    """Knows what must, may and must not be read."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk()
        self.limits = SpillLimits(bytes_max=6_000, segment_bytes=1_000)
        self.spill: Spill = opened(self.disk, self.limits)
        self.next = 0
        #: Records that are in the spill for certain, by id, with their events.
        self.waiting: dict[str, int] = {}
        #: Records that may be in it or not.
        self.perhaps: set[str] = set()
        self.gone: set[str] = set()
        self.out: dict[SpillToken, str] = {}

    @rule(
        sizes=st.lists(st.integers(0, 400), min_size=1, max_size=8),
        events=st.integers(1, 50),
        full=st.sampled_from(SpillFull),
    )
    def append(self, sizes: list[int], events: int, full: SpillFull) -> None:
        self.spill.limits = SpillLimits(bytes_max=6_000, segment_bytes=1_000, full=full)
        made = [
            record(self.next + index, size=size, events=events) for index, size in enumerate(sizes)
        ]
        self.next += len(made)
        before = self.spill.account
        try:
            lost = self.spill.append(made)
        except SpillError:
            # It may come back after a restart if the disk did not let it be cut off.
            self.perhaps |= {one.id for one in made}
            return
        refused = sum(one.events for one in lost if one.reason is not LostReason.DROP_OLDEST)
        kept = made[: len(made) - refused // events]
        self.waiting |= {one.id: events for one in kept}
        self.perhaps |= {one.id for one in made[len(kept) :]}
        oldest = sum(one.events for one in lost if one.reason is LostReason.DROP_OLDEST)
        assert self.spill.account.dropped_oldest - before.dropped_oldest == oldest
        if oldest:
            # Which they are shows when all is read.
            self.perhaps |= set(self.waiting)
            self.waiting.clear()

    @rule(bytes_max=st.integers(1, 2_000))
    def read(self, bytes_max: int) -> None:
        try:
            taken = self.spill.read(bytes_max)
        except SpillError:
            assert self.disk.fault is not None
            return
        size = sum(token.size_bytes for token, _ in taken)
        assert size <= bytes_max or len(taken) == 1
        for token, found in taken:
            number = int(found.id[1:])
            assert found == record(number, size=len(found.data), events=found.events)
            assert found.id not in self.gone
            assert found.id not in self.out.values()
            assert found.id in self.waiting or found.id in self.perhaps
            self.out[token] = found.id

    @rule(data=st.data())
    @precondition(lambda self: self.out)
    def acknowledge(self, data: st.DataObject) -> None:
        tokens = data.draw(st.lists(st.sampled_from(list(self.out)), unique=True))
        names = {self.out.pop(token) for token in tokens}
        for name in names:
            self.waiting.pop(name, None)
        try:
            self.spill.acknowledge(tokens)
        except SpillError:
            self.perhaps |= names
        else:
            self.perhaps -= names
            self.gone |= names

    @rule()
    @precondition(lambda self: self.out)
    def hand_back(self) -> None:
        self.spill.hand_back(list(self.out))
        self.out.clear()

    @rule(seed=st.integers(0, 1_000))
    def crash(self, seed: int) -> None:
        self.disk = self.disk.crashed(Random(seed))
        self.reopen()

    @rule()
    def restart(self) -> None:
        self.disk.fault = None
        self.spill.close()
        self.reopen()

    def reopen(self) -> None:
        self.out.clear()
        self.spill = opened(self.disk, self.limits)

    @rule(
        number=st.sampled_from([errno.EIO, errno.ENOSPC, errno.EMFILE]),
        names=st.sets(
            st.sampled_from(
                ["write_at", "create", "truncate", "remove", "rename", "open", "read_at", "sync"]
            ),
            min_size=1,
        ),
    )
    def break_the_disk(self, number: int, names: set[str]) -> None:
        def fault(name: str, path: Path) -> int | None:
            return number if name in names and path.parent == DIRECTORY else None

        self.disk.fault = fault

    @rule()
    def heal_the_disk(self) -> None:
        self.disk.fault = None

    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        paths = [
            path
            for path, inode in self.disk.entries.items()
            if segment_key(path.name) and path.parent == DIRECTORY and inode.data
        ]
        if not paths:
            return
        path = data.draw(st.sampled_from(sorted(paths)))
        inode = self.disk.entries[path]
        position = data.draw(st.integers(0, len(inode.data) - 1))
        inode.data[position] ^= 1 << data.draw(st.integers(0, 7))
        inode.synced = bytes(inode.data)
        inode.unsynced.clear()
        self.perhaps |= set(self.waiting)
        self.waiting.clear()

    @invariant()
    def it_adds_up(self) -> None:
        assert_adds_up(self.spill.account)

    def teardown(self) -> None:
        """Nothing that must be there is missing, and all of it can be settled."""
        self.disk.fault = None
        self.spill.hand_back(list(self.out))
        found = set()
        while taken := self.spill.read(10_000):
            found |= {one.id for _, one in taken}
            self.spill.acknowledge(token for token, _ in taken)
        if self.spill.account.corrupt == 0:
            assert set(self.waiting) <= found
        assert not found & self.gone
        assert self.spill.account.waiting == 0
        assert_adds_up(self.spill.account)
        self.spill.close()
        again = opened(self.disk, self.limits)
        assert again.account == self.spill.account
        assert again.read(10_000) == []
        again.close()


TestSpill = SpillMachine.TestCase
TestSpill.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
