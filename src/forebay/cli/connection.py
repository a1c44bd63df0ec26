"""How the commands for people reach SQS: the broker on this machine, AWS, or what speaks SQS."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import sys
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from types import TracebackType
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import urlsplit

import msgspec
import typer
from botocore.exceptions import BotoCoreError
from botocore.session import Session
from msgspec import Struct

from forebay.client.base import SqsClient
from forebay.client.connection import Disconnected, NotHttp
from forebay.client.endpoint import ENDPOINT_VARIABLES, REGION_VARIABLES, region_of_url
from forebay.client.http import CALL_TIMEOUT_S, HttpSqsClient
from forebay.client.retry import RetryPolicy
from forebay.clock import Clock, SystemClock
from forebay.errors import ForebayError, ServiceUnreachable, SettingsError
from forebay.protocol.actions import (
    GetQueueAttributesRequest,
    GetQueueUrlRequest,
    ListQueuesRequest,
)
from forebay.protocol.errors import QUEUE_DOES_NOT_EXIST, SqsError
from forebay.protocol.identifiers import queue_key_from_arn, queue_key_from_url

T = TypeVar("T")

#: Where SQS is unless the user says otherwise: where `forebay serve` listens.
DEFAULT_ENDPOINT_URL = "http://127.0.0.1:9324"

#: What the name of a region is made of. A wrong one would be part of a host name.
_REGION = re.compile("[A-Za-z0-9_-]{1,64}")

#: How long people wait to hear that nothing answers at their endpoint, in milliseconds. AWS gets
#: the client's own patience: it throttles, and does not stay away.
_PATIENCE_MS = 300

#: How long whoever presses Tab waits for the names of queues, in seconds.
_COMPLETION_S = 1.0

#: Most names in a message about a queue that does not exist.
_NAMES_SHOWN = 5


def queue_names(context: typer.Context, incomplete: str) -> list[str]:
    """What Tab completes a queue to: the names at the endpoint, if it tells them at once."""
    with suppress(ForebayError, BotoCoreError):
        place = choose_place(
            context.params.get("endpoint_url"),
            bool(context.params.get("aws")),
            context.params.get("region"),
        )
        with Connection(place, timeout_s=_COMPLETION_S) as sqs:
            request = ListQueuesRequest(queue_name_prefix=incomplete or None)
            urls = sqs.run(sqs.client.list_queues(request)).queue_urls
            return [short_name(url) for url in urls or ()]
    return []


QueueName = Annotated[
    str,
    typer.Argument(
        metavar="QUEUE", help="The queue's name, URL or ARN.", autocompletion=queue_names
    ),
]
EndpointUrl = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        metavar="URL",
        help="Where SQS is. Without it: the queue's URL, AWS_ENDPOINT_URL_SQS or AWS_ENDPOINT_URL.",
        show_default=DEFAULT_ENDPOINT_URL,
    ),
]
Aws = Annotated[bool, typer.Option("--aws", help="Use Amazon SQS, with your AWS credentials.")]
Region = Annotated[str | None, typer.Option("--region", metavar="NAME", help="The AWS region.")]

Json = Annotated[bool, typer.Option("--json", help="Print JSON, in the words of SQS.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]

#: What tells how many messages a queue holds.
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class UnknownQueue(ForebayError):
    """There is no such queue."""


class Place(Struct, frozen=True):
    """Which SQS is meant. Without an endpoint URL it is AWS's in the region."""

    endpoint_url: str | None
    region: str | None = None

    def __str__(self) -> str:
        where = self.endpoint_url or "Amazon SQS"
        return f"{where} in {self.region}" if self.region else where


def choose_place(
    endpoint_url: str | None,
    aws: bool,
    region: str | None,
    queue: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Place:
    """The SQS that a command line means.

    What it says outright comes first, then the host of the queue's URL, then the environment. The
    region is the one that an SDK in the same environment takes, because queues of different regions
    are different queues.
    Raises SettingsError when it says two things at once, or names something that cannot be.
    """
    if aws and endpoint_url is not None:
        raise SettingsError("--aws and --endpoint-url exclude each other. Leave one out.")
    if queue is not None:
        _check_queue(queue)
    region = region or _usual_region(queue, environment)
    if region is not None and _REGION.fullmatch(region) is None:
        raise SettingsError(f"{region!r} is not the name of a region, such as eu-west-1.")
    if aws:
        if region is None:
            raise SettingsError(
                "No AWS region is known. Name one with --region or AWS_REGION, or run"
                " `aws configure`."
            )
        return Place(None, region)
    if endpoint_url is None and queue is not None and "://" in queue:
        parts = urlsplit(queue)
        return Place(f"{parts.scheme}://{parts.netloc}", region)
    configured = (environment.get(name) for name in ENDPOINT_VARIABLES)
    found = endpoint_url or next((url for url in configured if url), DEFAULT_ENDPOINT_URL)
    return Place(found.rstrip("/"), region)


def _check_queue(queue: str) -> None:
    """Raise SettingsError unless this can be a queue's name, URL or ARN."""
    if not queue:
        raise SettingsError("The queue's name is empty.")
    try:
        if queue.startswith("arn:"):
            known, example = queue_key_from_arn(queue), "arn:aws:sqs:us-east-1:123456789012:orders"
        elif "://" in queue:
            known = queue_key_from_url(queue) if urlsplit(queue).hostname else None
            example = f"{DEFAULT_ENDPOINT_URL}/000000000000/orders"
        else:
            return
    except ValueError:
        known, example = None, f"{DEFAULT_ENDPOINT_URL}/000000000000/orders"
    if known is None:
        raise SettingsError(f"{queue} names no queue. It must look like {example}.")


def _usual_region(queue: str | None, environment: Mapping[str, str]) -> str | None:
    """The region of the queue's URL or ARN, else the one that the AWS CLI would take."""
    named = queue_key_from_arn(queue) if queue is not None else None
    if named is not None:
        return named.region
    configured = next((environment[name] for name in REGION_VARIABLES if environment.get(name)), "")
    try:
        region = region_of_url(queue) or configured or Session().get_config_variable("region")
    except BotoCoreError as error:
        raise SettingsError(
            f"The AWS configuration cannot be read: {error}. Check AWS_PROFILE and ~/.aws/config,"
            " or name the --region."
        ) from error
    return str(region) if region else None


def place_of_queue(queue: str, region: str | None, endpoint_url: str | None = None) -> Place:
    """The SQS of a queue, in the region that its URL names, or else in this one.

    Raises as `choose_place` does.
    """
    _check_queue(queue)
    # AWS takes no signature for another region than that of the host.
    return choose_place(endpoint_url, False, region_of_url(queue) or region, queue)


def client_at(place: Place, **settings: Any) -> HttpSqsClient:
    """A client of this SQS, whatever else the environment names. Takes what HttpSqsClient does."""
    environment = {k: v for k, v in os.environ.items() if k not in ENDPOINT_VARIABLES}
    return HttpSqsClient(
        place.endpoint_url, region=place.region, environment=environment, **settings
    )


def give_place(place: Place) -> None:
    """Let the processes that this one starts find SQS where it did."""
    for variable in ENDPOINT_VARIABLES:
        os.environ.pop(variable, None)
    if place.endpoint_url is not None:
        os.environ[ENDPOINT_VARIABLES[0]] = place.endpoint_url
    if place.region is not None:
        os.environ[REGION_VARIABLES[0]] = place.region


class Connection:
    """SQS for one command. Its event loop runs only while something is asked.

    In between, the command reads, prints and asks as any program does, and Ctrl-C interrupts it.
    """

    def __init__(
        self, place: Place, *, clock: Clock | None = None, timeout_s: float = CALL_TIMEOUT_S
    ) -> None:
        self.place = place
        self._clock = clock or SystemClock()
        patience = {} if place.endpoint_url is None else {"deadline_ms": _PATIENCE_MS}
        self.client: SqsClient = client_at(
            place, retry=RetryPolicy(**patience), timeout_s=timeout_s
        )
        self._runner = asyncio.Runner()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something with the client.

        Raises what it raises. Ctrl-C cancels it and raises KeyboardInterrupt.
        """
        try:
            return self._runner.run(work)
        except ServiceUnreachable as error:
            if self.place.endpoint_url is None:
                raise
            raise ServiceUnreachable(_absence(self.place, error.__cause__)) from error

    def sleep(self, duration_s: float) -> None:
        self.run(self._clock.sleep(duration_s))

    def attributes(self, queue_url: str, *names: str) -> dict[str, str]:
        """Attributes of a queue; all of them unless some are named."""
        request = GetQueueAttributesRequest(
            queue_url=queue_url, attribute_names=list(names) or ["All"]
        )
        return self.run(self.client.get_queue_attributes(request)).attributes or {}

    def count(self, queue_url: str) -> int:
        """How many messages a queue holds, visible or not."""
        attributes = self.attributes(queue_url, *_COUNTS)
        return sum(int(attributes.get(name, 0)) for name in _COUNTS)

    def confirm(self, what: str, yes: bool) -> None:
        """Ask whether to delete this, unless `yes` says so.

        Raises SettingsError when nobody can be asked, and typer's Abort when the answer is no.
        """
        if yes:
            return
        if not sys.stdin.isatty():
            raise SettingsError(
                f"This would delete {what} at {self.place}. Say --yes if it should."
            )
        typer.confirm(f"Delete {what} at {self.place}?", abort=True)

    @contextmanager
    def queue(self, queue: str) -> Iterator[str]:
        """The URL of the queue with this name, URL or ARN.

        Raises SettingsError when it can be none, and UnknownQueue, here or out of the block, when
        SQS does not know it.
        """
        _check_queue(queue)
        try:
            if "://" in queue:
                yield queue
            else:
                named = queue_key_from_arn(queue)
                request = (
                    GetQueueUrlRequest(queue_name=queue)
                    if named is None
                    else GetQueueUrlRequest(
                        queue_name=named.name, queue_owner_aws_account_id=named.account_id
                    )
                )
                yield self.run(self.client.get_queue_url(request)).queue_url
        except SqsError as error:
            if error.fault != QUEUE_DOES_NOT_EXIST:
                raise
            raise UnknownQueue(
                f"{self.place} has no queue {short_name(queue)}. {self._advice(short_name(queue))}"
            ) from error

    def _advice(self, name: str) -> str:
        names: list[str] = []
        with suppress(SqsError):
            listed = self.run(self.client.list_queues(ListQueuesRequest())).queue_urls
            names = [short_name(url) for url in listed or ()]
        near = get_close_matches(name, names, n=_NAMES_SHOWN)
        if near:
            return f"Did you mean {' or '.join(near)}?"
        if not names:
            return "It shows no queues at all."
        more = len(names) - _NAMES_SHOWN
        rest = f" and {more:,} more" if more > 0 else ""
        return f"It has {', '.join(names[:_NAMES_SHOWN])}{rest}."

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._runner.run(self.client.close())
        self._runner.close()


def _absence(place: Place, cause: BaseException | None) -> str:
    """What to say and advise when no SQS answered."""
    if isinstance(cause, ssl.SSLError):
        return (
            f"No trusted TLS connection to {place} could be made: {cause}. Name the certificate's"
            " authority with SSL_CERT_FILE; a broker without --tls-cert has a URL with http://."
        )
    if isinstance(cause, Disconnected | NotHttp):
        return (
            f"What answers at {place} does not speak HTTP as SQS does. A broker with --tls-cert has"
            " a URL with https://."
        )
    if isinstance(cause, TimeoutError):
        return f"{place} did not answer in time. Check its address and the network."
    return (
        f"No SQS answers at {place}. Start a broker with `forebay serve`, or name another endpoint"
        " with --endpoint-url, or Amazon SQS with --aws."
    )


def print_pairs(pairs: Mapping[str, str], as_json: bool) -> None:
    """Print names and values: a line each, or one JSON object."""
    if as_json:
        typer.echo(msgspec.json.encode(dict(sorted(pairs.items()))).decode())
        return
    width = max(map(len, pairs), default=0)
    for name, value in sorted(pairs.items()):
        typer.echo(f"{name:{width}}  {value}")


def short_name(queue_url: str) -> str:
    """The name of a queue, from its URL, its ARN or itself."""
    return queue_url.rpartition("/")[2].rpartition(":")[2]
