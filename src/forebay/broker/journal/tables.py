"""What the journal on disk holds, row by row: an SQLite database that pages are read from.

A thread that runs Python pays for every statement: it gives up the interpreter while SQLite works
and then queues for it behind the thread that serves requests. So the rows of a table are written by
one statement with many rows, not by many statements; docs/decisions/0001-journal.md has the
figures.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar, cast

import apsw
import msgspec

from forebay.broker.core.changes import (
    TENANTS_MAX,
    BacklogRecord,
    ChangeSet,
    DeduplicationRow,
    DeliveryRow,
    MessageRow,
    MoveTaskRecord,
    Page,
    PageRequest,
    Position,
    QueueRecord,
    Snapshot,
    Tally,
)
from forebay.broker.journal.base import Durability, cut_page
from forebay.broker.journal.schema import (
    CHECKPOINT_PAGES,
    PAGE_BYTES,
    cut_write_ahead_log,
    migrations,
    open_database,
    open_reader,
)
from forebay.broker.journal.transaction import journal_errors, transaction
from forebay.errors import JournalError

_Record = TypeVar("_Record", QueueRecord, MoveTaskRecord)

#: Most rows that one statement writes. Each number of rows is a statement that stays prepared.
_ROWS_MAX = 64

#: CROSS JOIN has SQLite go through the deliveries, which are few, and not through the messages.
_LOAD_MESSAGES = """
    SELECT message.*, delivery.*
    FROM delivery
    CROSS JOIN message ON message.sequence = delivery.sequence
    LEFT JOIN sweep ON sweep.queue_number = message.queue_number
    WHERE message.sequence > coalesce(through_sequence, 0)
    ORDER BY delivery.sequence
"""

#: The messages of a queue behind a position.
_PAGE = """
    SELECT *
    FROM message
    WHERE queue_number = :queue_number
        AND (page_key, sequence) > (:after_key, :after_sequence)
        AND sequence > :through_sequence
        AND NOT EXISTS (SELECT 1 FROM delivery WHERE delivery.sequence = message.sequence)
    ORDER BY page_key, sequence
"""

#: Those of one message group alone. The second condition has SQLite take the index message_tenant.
_TENANT_PAGE = _PAGE.replace(
    "WHERE", "WHERE message_group_id = :group_id AND page_key <> sequence AND", 1
)

_SWEPT_THROUGH = """
    SELECT coalesce(max(through_sequence), 0) FROM sweep WHERE queue_number = ?
"""

_LOAD_TALLIES = """
    SELECT queue_number, unreceived, floor_key
    FROM tally
    WHERE unreceived > 0 OR floor_key > 0
    ORDER BY queue_number
"""

_LOAD_DELAYS = """
    SELECT queue_number, available_at_ms, messages
    FROM delay
    WHERE available_at_ms > ?
    ORDER BY available_at_ms
"""

#: Adds to the row of the same queue and time.
_ADD_DELAYED = """
    INSERT INTO delay VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET messages = messages + excluded.messages
"""

#: From each message group to the next, without reading what the groups hold.
_LOAD_TENANTS = """
    WITH RECURSIVE tenant (group_id) AS (
        SELECT min(message_group_id)
        FROM message
        WHERE queue_number = :queue_number AND message_group_id > '' AND page_key <> sequence
        UNION ALL
        SELECT (
            SELECT min(message_group_id)
            FROM message
            WHERE queue_number = :queue_number AND message_group_id > group_id
                AND page_key <> sequence
        )
        FROM tenant
        WHERE group_id IS NOT NULL
        LIMIT :tenants_max
    ), bounded (group_id, first_key, last_key) AS MATERIALIZED (
        SELECT group_id, (
            SELECT page_key
            FROM message
            WHERE queue_number = :queue_number AND message_group_id = group_id
                AND page_key <> sequence AND page_key >= :floor_key AND sequence > :through_sequence
            ORDER BY page_key
            LIMIT 1
        ), (
            SELECT page_key
            FROM message
            WHERE queue_number = :queue_number AND message_group_id = group_id
                AND page_key <> sequence AND page_key >= :floor_key AND sequence > :through_sequence
            ORDER BY page_key DESC
            LIMIT 1
        )
        FROM tenant
    )
    SELECT * FROM bounded WHERE first_key IS NOT NULL
"""

_LOAD_DEDUPLICATIONS = """
    SELECT deduplication.*
    FROM deduplication
    LEFT JOIN sweep ON sweep.queue_number = deduplication.queue_number
    WHERE deduplication.sequence > coalesce(through_sequence, 0)
    ORDER BY deduplication.sequence
"""

#: A later purge of the same queue raises the mark and starts the sweep anew.
_START_SWEEP = "INSERT OR REPLACE INTO sweep VALUES (?, ?, 0)"

_NEXT_SWEEP = "SELECT queue_number, through_sequence, swept_sequence FROM sweep"

#: The sequence of the last row that the next slice of a sweep looks at.
_SLICE_END = """
    SELECT max(sequence)
    FROM (
        SELECT sequence FROM message WHERE sequence > ? AND sequence <= ?
        ORDER BY sequence LIMIT ?
    )
"""

#: Deletes a slice of a sweep: after a sequence, through a sequence, of a queue. The plus sign keeps
#: SQLite from going through the whole queue by an index of the queue's number.
_SWEEP_SLICE = (
    "DELETE FROM delivery WHERE sequence IN (SELECT sequence FROM message"
    " WHERE sequence > ? AND sequence <= ? AND +queue_number = ?)",
    "DELETE FROM message WHERE sequence > ? AND sequence <= ? AND +queue_number = ?",
    "DELETE FROM deduplication WHERE sequence > ? AND sequence <= ? AND queue_number = ?",
)


class Tables:
    """The tables of a journal.

    Every commit is durable when it returns, whatever the journal promises: the log forgets what is
    here. Raises JournalTooNew or JournalError when the file cannot be opened.
    """

    def __init__(
        self, path: Path, vfs: str | None = None, wal_pages: int = CHECKPOINT_PAGES
    ) -> None:
        self.path = path
        #: Messages that one transaction removes: on most pages there are more than four.
        self._removed_rows_max = 4 * wal_pages
        #: Whether rows of purged and removed queues may be left to delete.
        self.sweeping = True
        self._database = open_database(path, Durability.FSYNC, migrations("tables"), vfs, wal_pages)
        #: What the file has room for before it grows.
        self.unused_bytes = 0
        try:
            self._count_unused()
            #: Reads pages while the other one commits.
            self._reader = open_reader(path, vfs)
        except JournalError:
            with suppress(apsw.Error):
                self._database.close()
            raise

    def cut(self) -> None:
        """Give back what the write-ahead log does not need. Raises JournalError."""
        with journal_errors(self.path, "written"):
            cut_write_ahead_log(self._database, self.path)

    def folded_through(self) -> int:
        """The number of the latest commit that is here. Raises JournalError."""
        with journal_errors(self.path, "read"):
            return cast(int, self._database.execute("SELECT folded_through FROM meta").get)

    def load(self) -> Snapshot:
        """What was committed, as `Journal.load` answers it."""
        with journal_errors(self.path, "read"):
            execute = self._database.execute
            next_sequence, next_queue_number, clock_ms = execute(
                "SELECT next_sequence, next_queue_number, clock_ms FROM meta"
            ).get
            delays: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
            for number, available_at_ms, count in cast(
                "Iterable[tuple[int, int, int]]", execute(_LOAD_DELAYS, (clock_ms,))
            ):
                delays[number].append((available_at_ms, count))
            return Snapshot(
                queues=self._records("queue", QueueRecord),
                messages=self._messages(),
                deduplications=self._deduplications(),
                next_sequence=next_sequence,
                next_queue_number=next_queue_number,
                clock_ms=clock_ms,
                move_tasks=self._records("move_task", MoveTaskRecord),
                backlogs=[
                    self._backlog(number, Tally(unreceived, floor_key), clock_ms, delays[number])
                    for number, unreceived, floor_key in self._tallies()
                ],
            )

    def commit(self, changes: ChangeSet, through: int) -> None:
        """Keep all of `changes`, the sum of the log's commits up to a number, or nothing.

        Raises JournalError when that is not possible.
        """
        with journal_errors(self.path, "written"):
            removed = self._remove_most(changes.removed_messages)
            with transaction(self._database) as execute:
                self._apply(changes, removed)
                execute("UPDATE meta SET folded_through = ?", (through,))
            self._count_unused()

    def load_with(self, changes: ChangeSet) -> Snapshot:
        """What `load` would answer if these changes were committed.

        For a disk that cannot be written: nothing is. Raises JournalError.
        """
        with self._uncommitted(changes):
            snapshot = self.load()
            snapshot.messages = list(snapshot.messages)
            snapshot.deduplications = list(snapshot.deduplications)
            return snapshot

    def sweep(self) -> None:
        """Delete some of the rows that purges and removed queues left behind.

        `sweeping` is False once none are left. Raises JournalError.
        """
        rows = self._removed_rows_max
        with journal_errors(self.path, "written"):
            while True:
                try:
                    self._sweep_slice(rows)
                except apsw.FullError:
                    if rows == 1:
                        raise
                    rows = self._fewer(rows)
                else:
                    break
            self._count_unused()

    def _sweep_slice(self, rows_max: int) -> None:
        with transaction(self._database) as execute:
            sweep = execute(_NEXT_SWEEP).fetchone()
            if sweep is None:
                self.sweeping = False
                return
            number, through, swept = sweep
            end = execute(_SLICE_END, (swept, through, rows_max)).get
            if end is None:
                execute("DELETE FROM sweep WHERE queue_number = ?", (number,))
                end = through
            else:
                execute("UPDATE sweep SET swept_sequence = ? WHERE queue_number = ?", (end, number))
            for statement in _SWEEP_SLICE:
                execute(statement, (swept, end, number))

    def page(self, request: PageRequest, pending: Sequence[ChangeSet] = ()) -> Page:
        """The page that `Journal.page` answers if these changes are committed as well.

        Another thread may be committing some of them, or all.
        """
        number = request.queue_number
        purged = max((changes.purged.get(number, 0) for changes in pending), default=0)
        gone: set[int] = set()
        for changes in pending:
            gone.update(changes.removed_messages, changes.deliveries)
        with journal_errors(self.path, "read"):
            rows = self._rows_behind(self._reader, number, request.after, request.group_id, purged)
            page = cut_page(request, (row for row in rows if row[0] not in gone))
        sent = [
            row
            for changes in pending
            for row in changes.messages
            if row[1] == number
            and (page.rest is None or (row[11], row[0]) < page.rest)
            and row[0] > purged
            and row[0] not in gone
            and _belongs(row, request)
        ]
        if not sent:
            return page
        together = {row[0]: row for row in chain(page.rows, sent)}
        merged = cut_page(request, sorted(together.values(), key=itemgetter(11, 0)))
        return Page(merged.rows, merged.rest or page.rest)

    def close(self) -> None:
        """Let go of the file. A second call does nothing."""
        with journal_errors(self.path, "closed"):
            self._reader.close()
            self._database.close()

    @contextmanager
    def _uncommitted(self, changes: ChangeSet) -> Iterator[None]:
        database = self._database
        with journal_errors(self.path, "read"):
            database.pragma("cache_spill", False)
            database.execute("BEGIN IMMEDIATE")
            try:
                self._apply(changes, changes.removed_messages)
                yield
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                database.pragma("cache_spill", True)

    def _apply(self, changes: ChangeSet, removed_messages: Sequence[int]) -> None:
        # What is removed first leaves its space to what is stored. A sum has nothing in both.
        self._remove_messages(removed_messages)
        self._store(changes)
        self._remove(changes)
        self._count_delayed(changes)
        self._database.execute(
            "UPDATE meta SET next_sequence = ?, next_queue_number = ?, clock_ms = ?",
            (changes.next_sequence, changes.next_queue_number, changes.clock_ms),
        )

    def _store(self, changes: ChangeSet) -> None:
        self._write("INSERT INTO message VALUES", changes.messages)
        self._write("INSERT INTO deduplication VALUES", changes.deduplications)
        self._write("INSERT OR REPLACE INTO delivery VALUES", list(changes.deliveries.values()))
        queues = [_record_row(number, record) for number, record in changes.queues.items()]
        self._write("INSERT OR REPLACE INTO queue VALUES", queues)
        tasks = [
            _record_row(number, record)
            for number, record in changes.move_tasks.items()
            if record is not None
        ]
        self._write("INSERT OR REPLACE INTO move_task VALUES", tasks)
        tallies = [
            (number, tally.unreceived, tally.floor_key) for number, tally in changes.tallies.items()
        ]
        self._write("INSERT OR REPLACE INTO tally VALUES", tallies)

    def _remove(self, changes: ChangeSet) -> None:
        forgotten = [(number,) for number, record in changes.move_tasks.items() if record is None]
        self._write("DELETE FROM move_task WHERE number IN", forgotten)
        queues = [(number,) for number in changes.removed_queues]
        self._write("DELETE FROM queue WHERE number IN", queues)
        self._write("DELETE FROM tally WHERE queue_number IN", queues)
        sweeps = dict(changes.purged)
        sweeps.update(dict.fromkeys(changes.removed_queues, changes.next_sequence - 1))
        for sweep in sweeps.items():
            self._database.execute(_START_SWEEP, sweep)
            self._database.execute("DELETE FROM delay WHERE queue_number = ?", sweep[:1])
            self.sweeping = True
        if changes.forgotten_deduplications:
            self._database.execute(
                "DELETE FROM deduplication WHERE sequence <= ?", (changes.forgotten_deduplications,)
            )

    def _remove_most(self, sequences: Sequence[int]) -> Sequence[int]:
        """Remove messages in transactions of their own. Answers the few that are left.

        That bounds the write-ahead log, and frees their space for what is stored next. The log
        removes them, so it does no harm when the rest of a commit fails.
        """
        rows = self._removed_rows_max
        while len(sequences) > rows:
            try:
                with transaction(self._database):
                    self._remove_messages(sequences[:rows])
            except apsw.FullError:
                if rows == 1:
                    raise
                rows = self._fewer(rows)
            else:
                sequences = sequences[rows:]
        return sequences

    def _fewer(self, rows: int) -> int:
        """How many rows to try next on a full disk, from the start of the write-ahead log."""
        with suppress(apsw.Error):
            self._database.wal_checkpoint()
        return max(1, rows // 4)

    def _remove_messages(self, sequences: Sequence[int]) -> None:
        removed = [(sequence,) for sequence in sequences]
        self._write("DELETE FROM message WHERE sequence IN", removed)
        self._write("DELETE FROM delivery WHERE sequence IN", removed)

    def _count_unused(self) -> None:
        pages = self._database.pragma("freelist_count")
        self.unused_bytes = PAGE_BYTES * cast(int, pages)

    def _count_delayed(self, changes: ChangeSet) -> None:
        """Keep how many messages wait until when, for a start that reads none of them."""
        execute = self._database.execute
        counted = dict(changes.purged)
        delayed: Counter[tuple[int, int]] = Counter()
        for number, (through, recounted) in changes.recounted_delays.items():
            execute("DELETE FROM delay WHERE queue_number = ?", (number,))
            counted[number] = through
            for available_at_ms, count in recounted:
                delayed[available_at_ms, number] += count
        delayed.update(
            (row[5], row[1])
            for row in changes.messages
            if row[5] > changes.clock_ms and row[0] > counted.get(row[1], 0)
        )
        if delayed:
            execute("DELETE FROM delay WHERE available_at_ms <= ?", (changes.clock_ms,))
            for (available_at_ms, number), count in delayed.items():
                execute(_ADD_DELAYED, (available_at_ms, number, count))

    def _write(self, statement: str, rows: Sequence[tuple[apsw.SQLiteValue, ...]]) -> None:
        for start in range(0, len(rows), _ROWS_MAX):
            some = rows[start : start + _ROWS_MAX]
            self._database.execute(
                _with_rows(statement, len(some), len(some[0])), tuple(chain.from_iterable(some))
            )

    def _records(self, table: str, kind: type[_Record]) -> list[_Record]:
        rows = self._database.execute(f"SELECT record FROM {table} ORDER BY number")  # noqa: S608
        return [msgspec.json.decode(cast(str, text), type=kind) for (text,) in rows]

    def _messages(self) -> Iterator[tuple[MessageRow, DeliveryRow]]:
        with journal_errors(self.path, "read"):
            for row in cast("Iterable[Any]", self._database.execute(_LOAD_MESSAGES)):
                yield row[:12], row[12:18]

    def _tallies(self) -> list[tuple[int, int, int]]:
        return cast("list[tuple[int, int, int]]", self._database.execute(_LOAD_TALLIES).fetchall())

    def _rows_behind(
        self,
        database: apsw.Connection,
        number: int,
        after: Position,
        group_id: str | None = None,
        purged: int = 0,
    ) -> Iterator[MessageRow]:
        bindings: dict[str, Any] = {
            "queue_number": number,
            "after_key": after[0],
            "after_sequence": after[1],
            "through_sequence": max(purged, database.execute(_SWEPT_THROUGH, (number,)).get),
            "group_id": group_id,
        }
        statement = _PAGE if group_id is None else _TENANT_PAGE
        return cast("Iterator[MessageRow]", database.execute(statement, bindings))

    def _backlog(
        self, number: int, tally: Tally, clock_ms: int, delayed: list[tuple[int, int]]
    ) -> BacklogRecord:
        first = next(self._rows_behind(self._database, number, (tally.floor_key, 0)), None)
        execute = self._database.execute
        bindings = {
            "queue_number": number,
            "floor_key": tally.floor_key,
            "through_sequence": execute(_SWEPT_THROUGH, (number,)).get,
            "tenants_max": TENANTS_MAX,
        }
        return BacklogRecord(
            number,
            tally,
            enqueued_at_ms=clock_ms if first is None else first[4],
            delayed=delayed,
            tenants=cast("Any", execute(_LOAD_TENANTS, bindings).fetchall()),
        )

    def _deduplications(self) -> Iterator[DeduplicationRow]:
        with journal_errors(self.path, "read"):
            yield from cast("Iterable[Any]", self._database.execute(_LOAD_DEDUPLICATIONS))


@cache
def _with_rows(statement: str, rows: int, columns: int) -> str:
    """The statement, ended by a list of so many rows of parameters."""
    row = f"({', '.join('?' * columns)})"
    if statement.endswith(" IN"):
        return f"{statement} ({', '.join('?' * rows)})"
    return f"{statement} {', '.join([row] * rows)}"


def _belongs(row: MessageRow, request: PageRequest) -> bool:
    """Whether a message stands where a page is asked for, and is of its tenant."""
    return (row[11], row[0]) > request.after and request.group_id in (None, row[8])


def _record_row(number: int, record: QueueRecord | MoveTaskRecord) -> tuple[int, str]:
    return number, msgspec.json.encode(record).decode()
