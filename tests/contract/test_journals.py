"""What every journal promises, over all of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.broker.core.changes import (
    TENANTS_MAX,
    BacklogRecord,
    ChangeSet,
    DeduplicationRow,
    DeliveryRow,
    MessageExtras,
    MessageRow,
    MoveTaskRecord,
    Page,
    PageRequest,
    QueueRecord,
    Snapshot,
    Tally,
)
from forebay.broker.journal.base import Durability, Journal
from forebay.broker.journal.memory import MemoryJournal
from forebay.broker.journal.pending import PendingChanges
from forebay.broker.journal.sqlite import SqliteJournal

#: Closes a journal and gives what a broker would find after a restart.
Reopen: TypeAlias = Callable[[Journal], Journal]

JOBS = QueueRecord(
    number=1,
    account_id="000000000000",
    name="jobs",
    region="us-east-1",
    created_at_ms=5,
    modified_at_ms=6,
    purged_at_ms=None,
    attributes={"VisibilityTimeout": "60"},
    tags={"team": "säle"},
)
TASK = MoveTaskRecord(
    number=1,
    task_id="5a1e",
    source_arn="arn:aws:sqs:us-east-1:000000000000:dead",
    destination_arn=None,
    messages_per_second=10,
    status="RUNNING",
    moved=3,
    to_move=9,
    started_at_ms=7,
    begun_ms=8,
    failure_reason=None,
)


def _memory(_: Path) -> tuple[Journal, Reopen]:
    return MemoryJournal(), lambda journal: journal


def _sqlite(durability: Durability) -> Callable[[Path], tuple[Journal, Reopen]]:
    def open_in(directory: Path) -> tuple[Journal, Reopen]:
        def reopen(journal: Journal) -> Journal:
            journal.close()
            return SqliteJournal(directory, durability)

        return SqliteJournal(directory, durability), reopen

    return open_in


JOURNALS = {
    "memory": _memory,
    "sqlite-fsync": _sqlite(Durability.FSYNC),
    "sqlite-os": _sqlite(Durability.OS),
}


@pytest.fixture(params=JOURNALS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Journal, Reopen]]:
    last: list[Journal] = []
    journal, reopen_ = JOURNALS[request.param](tmp_path)
    last.append(journal)

    def reopen(journal: Journal) -> Journal:
        last.append(reopen_(journal))
        return last[-1]

    yield journal, reopen
    last[-1].close()


def message(
    sequence: int,
    queue: int = 1,
    body: str = "hello",
    page_key: int | None = None,
    group: str | None = None,
) -> MessageRow:
    key = sequence if page_key is None else page_key
    return (sequence, queue, f"id-{sequence}", body, 10, 11, 12, "0", group, None, None, key)


def page_of(
    queue: int = 1, after: tuple[int, int] = (0, 0), messages_max: int = 10_000, size: int = 1 << 30
) -> PageRequest:
    return PageRequest(1, queue, after, messages_max, size)


def delivery(sequence: int, count: int = 1) -> DeliveryRow:
    return (sequence, count, 20, 21, 22, None)


def deduplication(sequence: int, queue: int = 1) -> DeduplicationRow:
    return (sequence, queue, "group", f"dedup-{sequence}", f"id-{sequence}", 300)


def changes(next_sequence: int = 100, **members: object) -> ChangeSet:
    return msgspec.structs.replace(
        ChangeSet(next_sequence=next_sequence, next_queue_number=5, clock_ms=1000), **members
    )


def whole(snapshot: Snapshot) -> Snapshot:
    """The snapshot with its rows read."""
    return msgspec.structs.replace(
        snapshot,
        messages=list(snapshot.messages),
        deduplications=list(snapshot.deduplications),
    )


def sequences(journal: Journal, queue: int = 1) -> list[int]:
    return [row[0] for row in journal.page(page_of(queue)).rows]


def test_a_new_journal_is_empty(opened: tuple[Journal, Reopen]) -> None:
    journal, _ = opened
    assert whole(journal.load()) == Snapshot(queues=[], messages=[], deduplications=[])


def test_what_is_committed_is_loaded_after_a_restart(opened: tuple[Journal, Reopen]) -> None:
    journal, reopen = opened
    full: MessageRow = (
        2,
        1,
        "id-2",
        "naïve \U0001f389 \t\n",
        10,
        910,
        12,
        "123456789012",
        "group",
        "dedup",
        msgspec.msgpack.encode(MessageExtras(trace_header="Root=1")),
        910,
    )
    attempt: DeliveryRow = (2, 3, 20, 21, 22, "attempt")
    journal.commit(
        changes(
            queues={1: JOBS},
            messages=[message(1), full],
            deliveries={2: attempt},
            deduplications=[deduplication(2)],
            move_tasks={1: TASK},
            tallies={1: Tally(1, 0)},
        )
    )
    assert whole(reopen(journal).load()) == Snapshot(
        queues=[JOBS],
        messages=[(full, attempt)],
        deduplications=[deduplication(2)],
        next_sequence=100,
        next_queue_number=5,
        clock_ms=1000,
        move_tasks=[TASK],
        backlogs=[BacklogRecord(1, Tally(1, 0), enqueued_at_ms=10, tenants=[("group", 910, 910)])],
    )


def test_rows_are_loaded_in_order_whatever_their_number(opened: tuple[Journal, Reopen]) -> None:
    journal, reopen = opened
    for start in (1, 300):
        journal.commit(changes(messages=[message(start + n) for n in range(200)]))
    assert sequences(reopen(journal)) == [*range(1, 201), *range(300, 500)]


def test_the_latest_delivery_is_the_one_that_counts(opened: tuple[Journal, Reopen]) -> None:
    journal, reopen = opened
    journal.commit(changes(messages=[message(1)], deliveries={1: delivery(1)}))
    journal.commit(changes(deliveries={1: delivery(1, count=2)}))
    assert list(reopen(journal).load().messages) == [(message(1), delivery(1, count=2))]


def test_a_removed_message_is_gone_with_its_delivery(opened: tuple[Journal, Reopen]) -> None:
    journal, reopen = opened
    rows = [message(sequence) for sequence in range(1, 201)]
    journal.commit(changes(messages=rows, deliveries={1: delivery(1), 200: delivery(200)}))
    journal.commit(changes(removed_messages=list(range(1, 150))))
    journal = reopen(journal)
    assert list(journal.load().messages) == [(message(200), delivery(200))]
    assert sequences(journal) == [*range(150, 200)]


def test_what_comes_and_goes_in_one_commit_is_gone(opened: tuple[Journal, Reopen]) -> None:
    journal, reopen = opened
    journal.commit(
        changes(messages=[message(1), message(2)], removed_messages=[1], purged={1: 2}, queues={})
    )
    assert sequences(reopen(journal)) == []


def test_a_queue_is_loaded_as_it_was_last_saved(opened: tuple[Journal, Reopen]) -> None:
    journal, reopen = opened
    renamed = msgspec.structs.replace(JOBS, attributes={}, purged_at_ms=99)
    journal.commit(changes(queues={1: JOBS}))
    journal.commit(changes(queues={1: renamed}))
    assert reopen(journal).load().queues == [renamed]


def test_a_forgotten_move_task_is_gone(opened: tuple[Journal, Reopen]) -> None:
    journal, reopen = opened
    other = msgspec.structs.replace(TASK, number=2, status="COMPLETED")
    journal.commit(changes(move_tasks={1: TASK, 2: TASK}))
    journal.commit(changes(move_tasks={1: None, 2: other}))
    assert reopen(journal).load().move_tasks == [other]


def test_a_removed_queue_takes_its_messages_along(opened: tuple[Journal, Reopen]) -> None:
    journal, reopen = opened
    rows = [message(1), message(2, queue=2), message(3)]
    marks = [deduplication(1), deduplication(2, queue=2)]
    journal.commit(changes(queues={1: JOBS}, messages=rows, deduplications=marks))
    journal.commit(changes(removed_queues=[1]))
    journal = reopen(journal)
    snapshot = whole(journal.load())
    assert snapshot.queues == []
    assert sequences(journal) == []
    assert sequences(journal, queue=2) == [2]
    assert snapshot.deduplications == [deduplication(2, queue=2)]


def test_a_purge_takes_what_is_there_and_no_other_queue(opened: tuple[Journal, Reopen]) -> None:
    journal, reopen = opened
    rows = [message(sequence, queue=1 + sequence % 2) for sequence in range(1, 21)]
    marks = [deduplication(sequence, queue=1 + sequence % 2) for sequence in range(1, 21)]
    journal.commit(changes(messages=rows, deduplications=marks))
    journal.commit(changes(purged={1: 10}))
    left = [sequence for sequence in range(1, 21) if sequence % 2 or sequence > 10]
    for _ in range(2):
        snapshot = whole(journal.load())
        assert sorted(sequences(journal) + sequences(journal, queue=2)) == left
        assert [row[0] for row in snapshot.deduplications] == left
        journal = reopen(journal)


def test_a_queue_is_used_on_after_a_purge(opened: tuple[Journal, Reopen]) -> None:
    journal, reopen = opened
    journal.commit(changes(messages=[message(n) for n in range(1, 2001)]))
    journal.commit(changes(purged={1: 2000}))
    for sequence in range(2001, 2011):
        journal.commit(changes(messages=[message(sequence)], deliveries={}))
        assert sequences(journal) == list(range(2001, sequence + 1))
    assert sequences(reopen(journal)) == list(range(2001, 2011))


def test_deduplications_are_forgotten_up_to_a_sequence(opened: tuple[Journal, Reopen]) -> None:
    journal, reopen = opened
    marks = [deduplication(sequence, queue=sequence % 3) for sequence in range(1, 10)]
    journal.commit(changes(deduplications=marks))
    journal.commit(changes(messages=[message(99)], forgotten_deduplications=6))
    assert list(reopen(journal).load().deduplications) == marks[6:]


def test_a_page_is_in_order_of_page_key_and_then_of_sequence(
    opened: tuple[Journal, Reopen],
) -> None:
    journal, reopen = opened
    keys = {1: 30, 2: 10, 3: 20, 4: 10, 5: 40}
    journal.commit(changes(messages=[message(n, page_key=key) for n, key in keys.items()]))
    journal.commit(changes(messages=[message(6, page_key=20), message(7, queue=2, page_key=15)]))
    journal = reopen(journal)
    assert sequences(journal) == [2, 4, 3, 6, 1, 5]
    behind = journal.page(page_of(after=(10, 2)))
    assert [row[0] for row in behind.rows] == [4, 3, 6, 1, 5]
    assert behind.rows[0] == message(4, page_key=10)


@pytest.mark.parametrize(
    ("messages_max", "size", "pages"),
    [
        (2, 1000, [[1, 2], [3, 4], [5]]),
        (5, 1000, [[1, 2, 3, 4, 5]]),
        (6, 1000, [[1, 2, 3, 4, 5]]),
        (9, 1, [[1], [2], [3], [4], [5]]),
        (9, 10, [[1], [2], [3], [4], [5]]),
        (9, 11, [[1, 2], [3, 4], [5]]),
    ],
)
def test_a_page_ends_with_the_message_that_fills_it(
    opened: tuple[Journal, Reopen], messages_max: int, size: int, pages: list[list[int]]
) -> None:
    journal, _ = opened
    journal.commit(changes(messages=[message(n, body="x" * 10) for n in range(1, 6)]))
    read: list[Page] = []
    after = (0, 0)
    while not read or read[-1].rest is not None:
        read.append(journal.page(page_of(1, after, messages_max, size)))
        after = (read[-1].rows[-1][11], read[-1].rows[-1][0])
    assert [[row[0] for row in page.rows] for page in read] == pages
    rest = [page.rest[1] for page in read if page.rest is not None]
    assert rest == [page[0] for page in pages[1:]]


def test_a_page_leaves_out_what_was_received_removed_or_purged(
    opened: tuple[Journal, Reopen],
) -> None:
    journal, _ = opened
    journal.commit(changes(messages=[message(n) for n in range(1, 9)], purged={1: 2}))
    journal.commit(changes(deliveries={4: delivery(4), 8: delivery(8)}, removed_messages=[6]))
    assert journal.page(page_of()) == Page([message(3), message(5), message(7)])
    assert journal.page(page_of(after=(7, 7))) == Page([])


def test_a_page_of_a_tenant_holds_its_messages_alone(opened: tuple[Journal, Reopen]) -> None:
    journal, reopen = opened
    groups = {1: "a", 2: "b", 3: None, 4: "a", 5: "b", 6: "a", 7: "a", 8: "a", 9: "a"}
    keys = {n: 1000 - n for n in groups} | {7: 2000}
    rows = [message(n, page_key=keys[n], group=group) for n, group in groups.items()]
    journal.commit(changes(messages=rows, deliveries={4: delivery(4)}, removed_messages=[8]))
    journal.commit(changes(messages=[message(10, queue=2, page_key=500, group="a")]))
    journal = reopen(journal)

    def page(group_id: str = "a", **members: object) -> tuple[list[int], tuple[int, int] | None]:
        request = msgspec.structs.replace(page_of(), group_id=group_id, **members)
        page = journal.page(request)
        return [row[0] for row in page.rows], page.rest

    assert page() == ([9, 6, 1, 7], None)
    assert page(after=(991, 9), messages_max=1) == ([6], (999, 1))
    assert page(key_max=1999) == ([9, 6, 1], (2000, 7))
    assert page(key_max=2000) == ([9, 6, 1, 7], None)
    assert page(key_max=990) == ([], (991, 9))
    assert page(group_id="c") == ([], None)


def test_a_page_without_a_group_ends_at_its_largest_key(opened: tuple[Journal, Reopen]) -> None:
    journal, _ = opened
    journal.commit(changes(messages=[message(n, page_key=10 * n) for n in range(1, 4)]))
    request = msgspec.structs.replace(page_of(), key_max=20)
    assert [row[0] for row in journal.page(request).rows] == [1, 2]
    assert journal.page(request).rest == (30, 3)


def test_the_tenants_of_a_backlog_are_loaded_with_their_first_and_last_keys(
    opened: tuple[Journal, Reopen],
) -> None:
    journal, reopen = opened
    groups = {1: "b", 2: "a", 3: "b", 4: None, 5: "gone", 6: "c", 7: "ä", 8: "b"}
    rows = [message(n, page_key=100 + n, group=group) for n, group in groups.items()]
    fifo = [message(n, queue=2, group="ordered") for n in (21, 22)]
    tallies = {1: Tally(7, 102), 2: Tally(2, 0)}
    journal.commit(changes(messages=rows + fifo, tallies=tallies, removed_messages=[5]))
    standard, ordered = reopen(journal).load().backlogs
    assert standard.tenants == [("a", 102, 102), ("b", 103, 108), ("c", 106, 106), ("ä", 107, 107)]
    assert ordered.tenants == []


def test_no_more_tenants_are_loaded_than_are_known(opened: tuple[Journal, Reopen]) -> None:
    journal, reopen = opened
    count = TENANTS_MAX + 1
    rows = [message(n, page_key=2 * count, group=f"{n:06}") for n in range(1, count + 1)]
    journal.commit(changes(messages=rows, tallies={1: Tally(count, 0)}))
    [backlog] = reopen(journal).load().backlogs
    assert len(backlog.tenants) == TENANTS_MAX
    assert backlog.tenants[-1][0] == f"{TENANTS_MAX:06}"


def test_a_backlog_is_loaded_without_its_messages(opened: tuple[Journal, Reopen]) -> None:
    journal, reopen = opened
    delays = {1: 11, 2: 2000, 3: 2000, 4: 3000, 5: 900}
    rows = [
        (n, 1, f"id-{n}", "", 10 + n, until, 12, "0", None, None, None, until)
        for n, until in delays.items()
    ]
    journal.commit(changes(queues={1: JOBS}, messages=rows, tallies={1: Tally(5, 10)}))
    [backlog] = reopen(journal).load().backlogs
    assert backlog == BacklogRecord(1, Tally(5, 10), 11, [(2000, 2), (3000, 1)])


def test_delays_that_are_counted_anew_replace_what_was_counted(
    opened: tuple[Journal, Reopen],
) -> None:
    journal, reopen = opened

    def delayed(sequence: int, queue: int, until: int) -> MessageRow:
        return (sequence, queue, "id", "", 10, until, 12, "0", None, None, None, sequence)

    tallies = {1: Tally(9), 2: Tally(9), 3: Tally(9)}
    journal.commit(changes(messages=[delayed(1, 1, 9000), delayed(2, 2, 9000)], tallies=tallies))
    recounted = {1: (3, [(2000, 2), (900, 1)]), 3: (4, [(2000, 5)])}
    journal.commit(
        changes(
            messages=[delayed(3, 1, 9000), delayed(4, 3, 9000), delayed(5, 1, 2000)],
            recounted_delays=recounted,
        )
    )
    journal.commit(changes(messages=[delayed(6, 1, 3000)], purged={3: 4}))
    backlogs = reopen(journal).load().backlogs
    assert {backlog.queue_number: backlog.delayed for backlog in backlogs} == {
        1: [(2000, 3), (3000, 1)],
        2: [(9000, 1)],
        3: [],
    }


def test_a_tally_is_the_latest_and_goes_with_its_queue(opened: tuple[Journal, Reopen]) -> None:
    journal, reopen = opened
    journal.commit(changes(queues={1: JOBS}, tallies={1: Tally(5, 0), 2: Tally(7, 0)}))
    journal.commit(changes(messages=[message(1)], tallies={1: Tally(6, 3)}, removed_queues=[2]))
    journal = reopen(journal)
    [backlog] = journal.load().backlogs
    assert (backlog.queue_number, backlog.tally) == (1, Tally(6, 3))
    journal.commit(changes(tallies={1: Tally(0, 3)}, removed_messages=[1]))
    assert journal.load().backlogs == [BacklogRecord(1, Tally(0, 3), enqueued_at_ms=1000)]
    journal.commit(changes(tallies={1: Tally()}))
    assert journal.load().backlogs == []


def test_closing_twice_does_nothing(opened: tuple[Journal, Reopen]) -> None:
    journal, _ = opened
    journal.close()
    journal.close()


@st.composite
def _change_sets(draw: st.DrawFn) -> list[ChangeSet]:
    """Change sets as an engine makes them: each sequence is used once, and purges' marks rise.

    The first sequence is of a message that is gone.
    """
    sets = []
    following = 2
    clock_ms = 11
    marks: dict[int, int] = {}
    for _ in range(draw(st.integers(1, 8))):
        queues = draw(st.lists(st.integers(1, 3), max_size=6))
        keys = draw(st.lists(st.integers(0, 3), min_size=6, max_size=6))
        groups = draw(st.lists(st.sampled_from([None, "a", "b"]), min_size=6, max_size=6))
        rows = [
            message(following + n, queue, page_key=1000 + keys[n], group=groups[n])
            for n, queue in enumerate(queues)
        ]
        following += len(rows)
        known = st.integers(1, following - 1)
        clock_ms += draw(st.integers(0, 10_000))
        purged: dict[int, int] = {}
        for number, mark in draw(st.dictionaries(st.integers(1, 3), known, max_size=1)).items():
            purged = {number: max(mark, marks.get(number, 0))}
            marks.update(purged)
        received = draw(st.sets(known, max_size=3))
        sets.append(
            changes(
                next_sequence=following,
                clock_ms=clock_ms,
                messages=rows,
                deduplications=[deduplication(row[0], row[1]) for row in rows[::2]],
                deliveries={sequence: delivery(sequence) for sequence in received},
                removed_messages=draw(st.lists(known, max_size=3, unique=True)),
                tallies=draw(
                    st.dictionaries(
                        st.integers(1, 3),
                        st.builds(Tally, st.integers(0, 2), st.integers(1000, 1003)),
                        max_size=2,
                    )
                ),
                purged=purged,
                forgotten_deduplications=draw(st.one_of(st.just(0), known)),
            )
        )
    return sets


_keys = st.integers(1000, 1003)
_requests = st.builds(
    PageRequest,
    number=st.just(1),
    queue_number=st.integers(1, 3),
    after=st.tuples(_keys, st.integers(0, 20)),
    messages_max=st.integers(1, 5),
    body_size_max=st.integers(1, 20),
    group_id=st.sampled_from([None, "a", "b"]),
    key_max=st.one_of(st.none(), _keys),
)


@given(
    sets=_change_sets(),
    looks=st.sets(st.integers(0, 7)),
    restarts=st.sets(st.integers(0, 7)),
    crashes=st.sets(st.integers(0, 7)),
    requests=st.lists(_requests, max_size=5),
)
@settings(max_examples=50, deadline=None)
def test_sqlite_holds_what_dicts_hold(
    tmp_path_factory: pytest.TempPathFactory,
    sets: list[ChangeSet],
    looks: set[int],
    restarts: set[int],
    crashes: set[int],
    requests: list[PageRequest],
) -> None:
    """Whether it is read after a commit or not, closed, or killed."""
    directory = tmp_path_factory.mktemp("journal")
    memory = MemoryJournal()
    disks = [SqliteJournal(directory, Durability.OS)]
    try:
        for number, change_set in enumerate(sets):
            memory.commit(change_set)
            disks[-1].commit(change_set)
            if number in restarts:
                disks[-1].close()
                disks.append(SqliteJournal(directory, Durability.OS))
            if number in crashes:
                directory = shutil.copytree(directory, directory / f"after-{number}")
                disks.append(SqliteJournal(directory, Durability.OS))
            if number in looks or number == len(sets) - 1:
                assert whole(disks[-1].load()) == whole(memory.load())
                for request in requests:
                    assert disks[-1].page(request) == memory.page(request)
    finally:
        for disk in disks:
            disk.close()


@given(sets=_change_sets(), ends=st.sets(st.integers(0, 7)))
def test_the_sum_of_commits_is_all_of_them(sets: list[ChangeSet], ends: set[int]) -> None:
    one_by_one, summed = MemoryJournal(), MemoryJournal()
    pending, total = PendingChanges(), PendingChanges()
    for number, change_set in enumerate(sets):
        one_by_one.commit(change_set)
        pending.add(number, change_set, 1)
        if number in ends:
            total.add_all(pending)
            pending = PendingChanges()
    total.add_all(pending)
    assert (total.through, total.size_bytes) == (len(sets) - 1, len(sets))
    summed.commit(total.changes())
    assert whole(summed.load()) == whole(one_by_one.load())


def test_the_sum_leaves_out_what_did_not_stay() -> None:
    pending = PendingChanges()
    pending.add(1, changes(messages=[message(1), message(2)], deliveries={1: delivery(1)}), 10)
    pending.add(2, changes(removed_messages=[1, 7]), 10)
    total = pending.changes()
    assert (total.messages, total.deliveries) == ([message(2)], {})
    assert total.removed_messages == [7]
