"""What consumers lose and double behind `forebay lab chaos`, when all goes wrong and one is killed.

`make chaos-peers` prints the books. What is asserted is what each consumer's design makes certain.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import pytest

from tests.clients.chaos.shops import Celery, Forebay, Shop, SqsConsumer
from tests.clients.chaos.trial import HEADINGS, ORDERS, Books, try_out

SHOPS: tuple[type[Shop], ...] = (SqsConsumer, Celery, Forebay)

#: With it every kind of fault strikes among the first calls.
SEED = 125

AllBooks: TypeAlias = dict[type[Shop], Books]


@pytest.fixture(scope="module")
def all_books(tmp_path_factory: pytest.TempPathFactory) -> AllBooks:
    """The books of all trials, which run at once: they wait more than they compute."""
    with ThreadPoolExecutor(len(SHOPS)) as executor:
        trials = {
            kind: executor.submit(try_out, kind(), tmp_path_factory.mktemp(kind.__name__), SEED)
            for kind in SHOPS
        }
    all_books = {kind: trial.result() for kind, trial in trials.items()}
    print(HEADINGS, *(books.line for books in all_books.values()), sep="\n")
    return all_books


@pytest.mark.parametrize("kind", SHOPS)
def test_every_kind_of_fault_struck_and_a_kill(all_books: AllBooks, kind: type[Shop]) -> None:
    books = all_books[kind]
    done, calls = books.ledger["done"], books.ledger["calls"]
    assert all(done[deed] for deed in ("doubled", "reordered", "delayed", "parted")), done
    assert all(calls[fate] for fate in ("answered", "lost", "throttled", "cut")), calls
    assert books.in_hand
    assert books.handled > ORDERS
    # Whatever became of the orders, the queue takes all of them for done.
    orders = books.ledger["queues"]["orders"]
    assert (orders["delivered"], orders["never_deleted"]) == (ORDERS, [])


def test_sqs_consumer_loses_nothing_and_doubles_what_comes_twice(all_books: AllBooks) -> None:
    """It deletes after the handler, so that a kill costs nothing; and it remembers nothing."""
    books = all_books[SqsConsumer]
    assert books.lost == frozenset()
    assert books.came_after_deletion
    assert books.doubled >= books.came_after_deletion


def test_celery_loses_what_was_in_hand_and_doubles_what_comes_twice(all_books: AllBooks) -> None:
    """It deletes before the task runs, so that nothing brings back what a killed worker had."""
    books = all_books[Celery]
    assert books.lost
    assert books.doubled


def test_forebay_loses_nothing_and_doubles_nothing(all_books: AllBooks) -> None:
    books = all_books[Forebay]
    assert books.lost == books.doubled == frozenset()
    assert books.effects == ORDERS
