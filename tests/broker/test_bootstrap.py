"""Queues declared in a file are created once, and changed only where they differ."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from forebay.broker.bootstrap import Deed, Outcome, create_declared, read_declarations
from forebay.broker.core.engine import Wait
from forebay.errors import SettingsError
from forebay.protocol.actions import AnyRequest, AnyResult
from tests.core.harness import CALLER, Sqs, arn_of

DECLARED = """
[queues."orders.fifo"]
VisibilityTimeout = 60
ContentBasedDeduplication = true
dead_letter_queue = "orders-dead.fifo"
tags = { team = "sale" }

[queues."orders-dead.fifo"]
MessageRetentionPeriod = 1209600

[queues.jobs]
DelaySeconds = "005"
[[queues.jobs.Policy.Statement]]
Effect = "Allow"
Principal = { AWS = "111122223333" }
Action = ["sqs:SendMessage"]
Resource = "*"
"""


def declare(sqs: Sqs, directory: Path, text: str) -> list[Outcome]:
    path = directory / "queues.toml"
    path.write_text(text)

    async def call(request: AnyRequest) -> AnyResult:
        result = sqs.engine.apply(request, CALLER, sqs.now_ms)
        assert not isinstance(result, Wait)
        return result

    return asyncio.run(create_declared(call, read_declarations(path)))


def test_declared_queues_are_created_with_their_dead_letter_queue(tmp_path: Path) -> None:
    sqs = Sqs()
    outcomes = declare(sqs, tmp_path, DECLARED)
    assert [(outcome.name, outcome.deed) for outcome in outcomes] == [
        ("orders.fifo", Deed.CREATED),
        ("orders-dead.fifo", Deed.CREATED),
        ("jobs", Deed.CREATED),
    ]
    attributes = sqs.attributes("orders.fifo")
    assert attributes["VisibilityTimeout"] == "60"
    assert attributes["ContentBasedDeduplication"] == "true"
    assert json.loads(attributes["RedrivePolicy"]) == {
        "deadLetterTargetArn": arn_of("orders-dead.fifo"),
        "maxReceiveCount": 3,
    }


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    sqs = Sqs()
    declare(sqs, tmp_path, DECLARED)
    sqs.engine.take_changes()
    again = declare(sqs, tmp_path, DECLARED)
    assert {outcome.deed for outcome in again} == {Deed.UNCHANGED}
    assert not sqs.engine.take_changes()


def test_an_edited_file_changes_what_differs_and_keeps_the_messages(tmp_path: Path) -> None:
    sqs = Sqs()
    declare(sqs, tmp_path, DECLARED)
    sqs.send("orders.fifo", "a", group="g")
    edited = DECLARED.replace("= 60", "= 90").replace('"sale"', '"shop"')
    changed = [
        outcome for outcome in declare(sqs, tmp_path, edited) if outcome.deed is not Deed.UNCHANGED
    ]
    assert changed == [Outcome("orders.fifo", Deed.UPDATED, ["VisibilityTimeout", "tag team"])]
    assert sqs.attributes("orders.fifo")["VisibilityTimeout"] == "90"
    assert sqs.bodies("orders.fifo") == ["a"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("queues = [", "could not be read"),
        ("[queue.jobs]", "queue, which means nothing here"),
        ("[queues]\njobs = 3", "jobs must be a table"),
        ("[queues.jobs]\ncolour = 'red'", "queue jobs: .*colour"),
        ("[queues.jobs]\nmax_receive_count = 0", "must be from 1 to 1000"),
        ("[queues.jobs]\ndead_letter_queue = 'dead'", "does not declare. Add it"),
        ("[queues.jobs]\nColour = 'red'", "jobs was refused: .*Unknown Attribute Colour"),
        ("[queues.jobs]\nDelaySeconds = 901", "jobs was refused: .*DelaySeconds"),
        ("[queues.'bad name']", "bad name was refused"),
        ("[queues.jobs]\nPolicy = {}", "jobs was refused: .* A policy needs a Statement"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        declare(Sqs(), tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml"):
        read_declarations(tmp_path / "nowhere.toml")
