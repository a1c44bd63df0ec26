"""Which SQS a command line means, and what is said when it is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from forebay.cli.connection import (
    DEFAULT_ENDPOINT_URL,
    Place,
    choose_place,
    place_of_queue,
    short_name,
)
from forebay.errors import SettingsError
from tests.cli.conftest import Run, Sqs

LOCAL = "http://127.0.0.1:9400"
AWS_QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"


def test_the_region_in_a_queues_url_comes_before_one_that_is_given() -> None:
    place = place_of_queue("https://sqs.eu-west-1.amazonaws.com/123456789012/orders", "us-east-1")
    assert place == Place("https://sqs.eu-west-1.amazonaws.com", "eu-west-1")
    assert (
        place_of_queue("http://broker:9324/123456789012/orders", "eu-west-2").region == "eu-west-2"
    )


@pytest.mark.parametrize(
    ("endpoint_url", "aws", "region", "queue", "environment", "place"),
    [
        (None, False, None, "orders", {}, Place(DEFAULT_ENDPOINT_URL)),
        (LOCAL, False, None, "orders", {}, Place(LOCAL)),
        (f"{LOCAL}/", False, "eu-west-1", "orders", {}, Place(LOCAL, "eu-west-1")),
        (None, False, None, "orders", {"AWS_ENDPOINT_URL": LOCAL}, Place(LOCAL)),
        (
            *(None, False, None, None),
            {"AWS_ENDPOINT_URL": "http://other", "AWS_ENDPOINT_URL_SQS": LOCAL},
            Place(LOCAL),
        ),
        (None, False, None, f"{LOCAL}/000000000000/orders", {}, Place(LOCAL)),
        (
            *(None, False, None, f"{LOCAL}/000000000000/orders"),
            {"AWS_ENDPOINT_URL": "http://other"},
            Place(LOCAL),
        ),
        (
            *(None, False, None, AWS_QUEUE, {"AWS_REGION": "us-east-1"}),
            Place("https://sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ),
        (LOCAL, False, None, AWS_QUEUE, {}, Place(LOCAL, "eu-west-1")),
        (LOCAL, False, None, "orders", {"AWS_REGION": "us-west-2"}, Place(LOCAL, "us-west-2")),
        (None, True, "eu-west-1", "orders", {"AWS_ENDPOINT_URL": LOCAL}, Place(None, "eu-west-1")),
        (None, True, None, "orders", {"AWS_REGION": "us-west-2"}, Place(None, "us-west-2")),
        (None, True, None, AWS_QUEUE, {"AWS_REGION": "us-west-2"}, Place(None, "eu-west-1")),
    ],
)
def test_the_command_line_decides_then_the_queue_url_then_the_environment(
    endpoint_url: str | None,
    aws: bool,
    region: str | None,
    queue: str | None,
    environment: dict[str, str],
    place: Place,
) -> None:
    assert choose_place(endpoint_url, aws, region, queue, environment) == place


def test_the_region_is_the_one_that_the_aws_cli_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\nregion = ap-south-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert choose_place(None, True, None, "orders", {}) == Place(None, "ap-south-1")
    assert choose_place(LOCAL, False, None, "orders", {}) == Place(LOCAL, "ap-south-1")


def test_two_places_at_once_are_refused() -> None:
    with pytest.raises(SettingsError, match="exclude each other"):
        choose_place(LOCAL, True, None, "orders", {})


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("orders", "orders"),
        (AWS_QUEUE, "orders"),
        ("arn:aws:sqs:eu-west-1:123456789012:orders.fifo", "orders.fifo"),
    ],
)
def test_a_queue_is_called_by_its_short_name(address: str, name: str) -> None:
    assert short_name(address) == name


def test_nobody_at_the_endpoint_names_it_and_the_way_to_start_one(run: Run) -> None:
    ended = run("receive", "orders", "--endpoint-url", "http://127.0.0.1:1")
    assert ended.code == 1
    assert ended.err == (
        "Error: No SQS answers at http://127.0.0.1:1. Start a broker with `forebay serve`, or name"
        " another endpoint with --endpoint-url, or Amazon SQS with --aws.\n"
    )


def test_an_unknown_queue_brings_those_of_a_similar_name(run: Run, sqs: Sqs) -> None:
    url = sqs.create("orders")
    sqs.create("invoices")
    ended = run("receive", "ordres")
    assert ended.code == 1
    assert ended.err.endswith(" has no queue ordres. Did you mean orders?\n")
    ended = run("purge", url.replace("orders", "order"), "--yes")
    assert ended.code == 1
    assert ended.err.endswith(" has no queue order. Did you mean orders?\n")


def test_an_unknown_queue_without_a_similar_name_brings_some_that_there_are(
    run: Run, sqs: Sqs
) -> None:
    assert run("receive", "zebra").err.endswith("It shows no queues at all.\n")
    for number in range(7):
        sqs.create(f"queue-{number}")
    assert run("receive", "zebra").err.endswith(
        " It has queue-0, queue-1, queue-2, queue-3, queue-4 and 2 more.\n"
    )


def test_an_endpoint_that_is_no_url_is_said_to_be_none(run: Run) -> None:
    ended = run("queues", "--endpoint-url", "localhost")
    assert ended.code == 2
    assert "'localhost' is not an endpoint URL" in ended.err
