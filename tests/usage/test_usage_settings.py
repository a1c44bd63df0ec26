"""Where the queue and the database are, as variables and options say."""

from __future__ import annotations

import pytest

from forebay.apps.usage.database_secret import DatabaseSecret
from forebay.apps.usage.domain import USAGE_LOG_TYPE
from forebay.apps.usage.producer import usage_producer
from forebay.apps.usage.queues import declare_usage_queues
from forebay.apps.usage.settings import (
    WriterSettings,
    usage_database,
    usage_queue,
    writer_settings,
)
from forebay.broker.embedded import EmbeddedBroker
from forebay.client.http import HttpSqsClient
from forebay.errors import SettingsError
from tests.usage.events import LOG

AWS_QUEUE = "https://sqs.us-east-2.amazonaws.com/211998422884/trinity-beast-queued-usage-logs"


def test_the_queue_is_the_documents_unless_the_variable_says_otherwise() -> None:
    assert usage_queue({}) == "trinity-beast-queued-usage-logs"
    assert usage_queue({"SQS_USAGE_LOG_QUEUE_URL": ""}) == "trinity-beast-queued-usage-logs"
    assert usage_queue({"SQS_USAGE_LOG_QUEUE_URL": AWS_QUEUE}) == AWS_QUEUE


@pytest.mark.parametrize(
    "address",
    [
        "sqlite:///usage.sqlite3",
        "sqlite:////var/usage.sqlite3",
        "postgresql://writer@db/usage",
        "postgres://db/usage",
        "host=/tmp user=writer dbname=usage",
    ],
)
async def test_an_address_is_what_is_given_first_and_then_the_variable(address: str) -> None:
    both = {"FOREBAY_USAGE_DATABASE": "postgresql://other/usage", "DB_SECRET_NAME": "s"}
    assert await usage_database(address, both).read() == address
    assert await usage_database(None, {"FOREBAY_USAGE_DATABASE": address}).read() == address


def test_a_secret_is_read_where_no_address_is_given() -> None:
    for environment in (
        {"DB_SECRET_NAME": "trinity-beast-secrets"},
        {"DB_SECRET_NAME": "s", "FOREBAY_USAGE_DATABASE": "postgresql://db/usage"},
    ):
        assert isinstance(usage_database(environment=environment), DatabaseSecret)


@pytest.mark.parametrize(
    "address", ["mysql://a:secret@b/c", "sqlite:///", "usage.db", "sqlite://x"]
)
def test_an_address_that_is_none_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(SettingsError, match="neither postgresql://") as caught:
        usage_database(environment={"FOREBAY_USAGE_DATABASE": address})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "No usage database is named. Give --database"),
        ({"DB_SECRET_NAME": "s", "FOREBAY_USAGE_DATABASE": "sqlite:///x"}, "is for PostgreSQL"),
    ],
)
def test_what_names_no_database_is_refused(environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        usage_database(environment=environment)


def test_a_writer_works_as_the_variables_say() -> None:
    assert writer_settings({}) == WriterSettings(batch=100, within_ms=5_000)
    assert writer_settings(
        {
            "FOREBAY_USAGE_BATCH": "7",
            "FOREBAY_USAGE_WITHIN_MS": "300000",
            "FOREBAY_USAGE_ROWS_PER_TRANSACTION": "1",
        }
    ) == WriterSettings(batch=7, within_ms=300_000, rows_per_transaction=1)
    with pytest.raises(SettingsError, match="FOREBAY_USAGE_WITHIN_MS is '300001'; it must be"):
        writer_settings({"FOREBAY_USAGE_WITHIN_MS": "300001"})


async def test_the_producer_packs_into_the_queue_of_the_environment() -> None:
    with EmbeddedBroker() as broker:
        async with HttpSqsClient(broker.endpoint_url) as client:
            queues = await declare_usage_queues(client)
            environment = {"SQS_USAGE_LOG_QUEUE_URL": queues.usage_logs}
            async with usage_producer(client, environment=environment, node="LPO") as producer:
                for _ in range(50):
                    assert producer.send(USAGE_LOG_TYPE, LOG)
            async with usage_producer(client, environment={}, packed=()) as producer:
                assert producer.send(USAGE_LOG_TYPE, LOG)
            messages = await client.receive(queues.usage_logs)
    assert len(messages) == 2
