"""What the scenarios need: declared, made, found wanting, and taken away."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from forebay.broker.bootstrap import Deed, read_declarations
from forebay.broker.embedded import EmbeddedBroker
from forebay.client.http import HttpSqsClient
from forebay.errors import SettingsError
from forebay.lab.catalogue import catalogue
from forebay.lab.infrastructure.background_broker import (
    BrokerNotStarted,
    running_broker,
    start_broker,
)
from forebay.lab.infrastructure.checking import Check, check_queues, check_tables
from forebay.lab.infrastructure.directory import LabDirectory
from forebay.lab.infrastructure.standing import DOTENV_VARIABLES, Made, make_all
from forebay.lab.infrastructure.tables import make_tables, missing_tables
from forebay.lab.infrastructure.wanted import WantedQueues, render_queues, wanted_queues
from forebay.protocol.actions import (
    DeleteQueueRequest,
    GetQueueAttributesRequest,
    SetQueueAttributesRequest,
)
from tests.lab.infrastructure import SCENARIOS

WANTED = wanted_queues(scenarios=SCENARIOS)
HAPPY, HAPPY_DLQ = "sqs-demo-happy-queue", "sqs-demo-happy-dlq"
FIFO, FIFO_DLQ = "sqs-demo-fifo-queue.fifo", "sqs-demo-fifo-dlq.fifo"


@pytest.fixture
async def client() -> AsyncIterator[HttpSqsClient]:
    with EmbeddedBroker() as broker:
        async with HttpSqsClient(broker.endpoint_url) as client:
            yield client


@pytest.fixture
def directory(tmp_path: Path) -> LabDirectory:
    return LabDirectory(tmp_path / "lab")


async def up(client: HttpSqsClient, directory: LabDirectory) -> Made:
    return await make_all(
        client, directory, WANTED, endpoint_url="http://127.0.0.1:1", region="eu-west-1"
    )


async def wrong(client: HttpSqsClient) -> dict[str, tuple[str, ...]]:
    checks = await check_queues(client, WANTED)
    return {check.name: check.problems for check in checks if not check.holds}


@pytest.mark.parametrize(
    "wanted", [WANTED, wanted_queues(), wanted_queues("other")], ids=["own", "all", "project"]
)
def test_the_file_of_queues_declares_what_the_scenarios_want(
    wanted: list[WantedQueues], tmp_path: Path
) -> None:
    file = tmp_path / "queues.toml"
    file.write_text(render_queues(wanted))
    assert read_declarations(file) == [queue for each in wanted for queue in each.queues]


def test_no_two_scenarios_share_a_queue() -> None:
    names = [queue.name for each in wanted_queues() for queue in each.queues]
    assert len(set(names)) == len(names)


def test_the_file_of_queues_can_be_read() -> None:
    text = render_queues(WANTED)
    assert "# fifo: A FIFO queue, and one without dead letters.\n[queues." in text
    assert "VisibilityTimeout = 10\n" in text
    assert "FifoQueue = true\n" in text
    assert f'dead_letter_queue = "{FIFO_DLQ}"\nmax_receive_count = 5\n' in text


async def test_all_is_made_once_and_then_found(
    client: HttpSqsClient, directory: LabDirectory
) -> None:
    first = await up(client, directory)
    assert {outcome.deed for outcome in first.queues} == {Deed.CREATED}
    assert (len(first.queues), first.new_tables) == (5, 2)
    assert await wrong(client) == {}
    assert all(check.holds for check in check_tables(directory, WANTED))
    again = await up(client, directory)
    assert {outcome.deed for outcome in again.queues} == {Deed.UNCHANGED}
    assert (again.new_tables, again.variables) == (0, first.variables)


async def test_the_variables_lead_to_the_scenario_happy(
    client: HttpSqsClient, directory: LabDirectory
) -> None:
    variables = (await up(client, directory)).variables
    tables = f"sqlite:///{directory.path}/tables/happy.sqlite3"
    assert variables == {
        "QUEUE_URL": await client.queue_url(HAPPY),
        "DLQ_ARN": f"arn:aws:sqs:us-east-1:000000000000:{HAPPY_DLQ}",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "MESSAGE_STATUS_TABLE": tables,
        "MESSAGE_SIDE_EFFECTS_TABLE": tables,
        "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:1",
    }
    assert tuple(variables) == DOTENV_VARIABLES


async def test_an_empty_sqs_has_nothing_that_is_needed(client: HttpSqsClient) -> None:
    found = await wrong(client)
    assert len(found) == 5
    assert set(found.values()) == {("It is not there.",)}


@pytest.mark.parametrize("name", [HAPPY, HAPPY_DLQ, FIFO, FIFO_DLQ, "sqs-demo-fifo-second-queue"])
async def test_a_missing_queue_is_named(
    client: HttpSqsClient, directory: LabDirectory, name: str
) -> None:
    await up(client, directory)
    await client.call(DeleteQueueRequest(queue_url=await client.queue_url(name)))
    assert await wrong(client) == {name: ("It is not there.",)}


def redrive(dead: str, count: int) -> str:
    arn = f"arn:aws:sqs:us-east-1:000000000000:{dead}"
    return json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": count})


@pytest.mark.parametrize(
    ("queue", "name", "value", "problem"),
    [
        (HAPPY, "RedrivePolicy", "", r"It has no redrive policy; .* sqs-demo-happy-dlq after 2 re"),
        (HAPPY, "RedrivePolicy", redrive(HAPPY_DLQ, 3), "maxReceiveCount is 3; it should be 2"),
        (
            HAPPY,
            "RedrivePolicy",
            redrive("sqs-demo-fifo-second-queue", 2),
            r"dead letters go to \S+second-queue; they should go to sqs-demo-happy-dlq after 2",
        ),
        (HAPPY, "VisibilityTimeout", "30", "VisibilityTimeout is 30; it should be 10"),
        (HAPPY, "ReceiveMessageWaitTimeSeconds", "0", "WaitTimeSeconds is 0; it should be 10"),
        (HAPPY_DLQ, "MessageRetentionPeriod", "60", "RetentionPeriod is 60; it should be 1209600"),
        (FIFO, "ContentBasedDeduplication", "false", "Deduplication is false; it should be true"),
        (FIFO, "RedrivePolicy", redrive(FIFO_DLQ, 2), "maxReceiveCount is 2; it should be 5"),
        ("sqs-demo-fifo-second-queue", "DelaySeconds", "0", "DelaySeconds is 0; it should be 3"),
    ],
)
async def test_what_differs_is_named_and_the_next_up_mends_it(
    client: HttpSqsClient,
    directory: LabDirectory,
    queue: str,
    name: str,
    value: str,
    problem: str,
) -> None:
    await up(client, directory)
    url = await client.queue_url(queue)
    await client.call(SetQueueAttributesRequest(queue_url=url, attributes={name: value}))
    found = await wrong(client)
    assert list(found) == [queue]
    assert re.search(problem, " ".join(found[queue]))
    made = await up(client, directory)
    assert [each.name for each in made.queues if each.deed is Deed.UPDATED] == [queue]
    assert await wrong(client) == {}


async def test_a_policy_that_should_not_be_there_is_named(
    client: HttpSqsClient, directory: LabDirectory
) -> None:
    await up(client, directory)
    url = await client.queue_url("sqs-demo-fifo-second-queue")
    policy = {"RedrivePolicy": redrive(HAPPY_DLQ, 2)}
    await client.call(SetQueueAttributesRequest(queue_url=url, attributes=policy))
    (problem,) = (await wrong(client))["sqs-demo-fifo-second-queue"]
    assert problem.endswith("forebay attributes sqs-demo-fifo-second-queue RedrivePolicy=")


async def test_looking_changes_nothing(client: HttpSqsClient, directory: LabDirectory) -> None:
    await up(client, directory)
    url = await client.queue_url(HAPPY)
    await client.call(
        SetQueueAttributesRequest(queue_url=url, attributes={"VisibilityTimeout": "1"})
    )
    assert await wrong(client) == await wrong(client) != {}
    asked = GetQueueAttributesRequest(queue_url=url, attribute_names=["VisibilityTimeout"])
    assert (await client.get_queue_attributes(asked)).attributes == {"VisibilityTimeout": "1"}


def table_problems(directory: LabDirectory) -> dict[str, tuple[str, ...]]:
    checks: list[Check] = check_tables(directory, WANTED)
    return {check.scenario: check.problems for check in checks if not check.holds}


def test_missing_tables_are_named(directory: LabDirectory) -> None:
    for scenario in SCENARIOS:
        make_tables(directory.tables_of(scenario))
    assert table_problems(directory) == {}
    happy, fifo = directory.tables_of("happy"), directory.tables_of("fifo")
    happy.unlink()
    connection = apsw.Connection(str(fifo))
    connection.execute("DROP TABLE message_side_effects")
    connection.close()
    assert table_problems(directory) == {
        "happy": ("The file is not there.",),
        "fifo": ("It has no table message_side_effects.",),
    }
    assert not happy.exists(), "to look makes no file"


def test_a_file_that_is_no_database_is_named(directory: LabDirectory) -> None:
    path = directory.tables_of("happy")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a database" * 100)
    assert re.match(r".*happy\.sqlite3 cannot be read: .*", table_problems(directory)["happy"][0])


def test_tables_are_made_once(tmp_path: Path) -> None:
    path = tmp_path / "a" / "tables.sqlite3"
    assert [make_tables(path), make_tables(path)] == [True, False]
    assert missing_tables(path) == []


def test_a_directory_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "mine.py").touch()
    with pytest.raises(SettingsError, match="has other things in it"):
        LabDirectory(tmp_path).make()
    assert not LabDirectory(tmp_path).remove()
    assert (tmp_path / "broker" / "mine.py").exists()


def test_what_is_not_the_labs_stays_in_its_directory(directory: LabDirectory) -> None:
    directory.make()
    make_tables(directory.tables_of("happy"))
    (directory.path / "notes.txt").touch()
    assert directory.remove()
    assert [each.name for each in directory.path.iterdir()] == ["notes.txt"]
    assert not directory.remove()


def test_every_name_of_a_queue_is_one_that_sqs_takes() -> None:
    for each in wanted_queues():
        for queue in each.queues:
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,75}(\.fifo)?", queue.name), queue.name
    assert len(wanted_queues()) == len(catalogue())


@pytest.mark.parametrize(
    ("program", "says"),
    [("true", "nothing is in .*broker.log. See whether its disk has room"), ("echo", "-m forebay")],
)
def test_a_broker_that_does_not_start_has_its_reason_told(
    directory: LabDirectory, monkeypatch: pytest.MonkeyPatch, program: str, says: str
) -> None:
    monkeypatch.setattr("sys.executable", program)
    with pytest.raises(BrokerNotStarted, match=f"(?s)The broker has ended.*{says}"):
        start_broker(directory, 0, "us-east-1")
    assert running_broker(directory) is None
