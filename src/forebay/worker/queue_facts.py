"""What SQS says of a queue: its URL and the attributes that a worker goes by."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

from msgspec import Struct

from forebay.backoff import backoff_s, jitter
from forebay.client.retry import NO_RETRY, is_retryable
from forebay.errors import ForebayError
from forebay.protocol.actions import GetQueueAttributesRequest
from forebay.protocol.errors import ACCESS_DENIED, QUEUE_DOES_NOT_EXIST, SqsError
from forebay.protocol.identifiers import FIFO_SUFFIX
from forebay.protocol.limits import VISIBILITY_TIMEOUT_SECONDS_DEFAULT
from forebay.worker.context import Context
from forebay.worker.trouble import Trouble

_log = logging.getLogger(__name__)

#: The attributes that are asked for.
_ATTRIBUTES = [
    "QueueArn",
    "VisibilityTimeout",
    "RedrivePolicy",
    "FifoQueue",
    "ReceiveMessageWaitTimeSeconds",
]

#: First and longest bound of the pause before the queue is asked for again, in seconds.
_PAUSE_BASE_S = 0.5
_PAUSE_MAX_S = 10.0


class QueueFacts(Struct, frozen=True, kw_only=True):
    """One queue as SQS describes it; the defaults are for a worker that may not ask."""

    url: str
    #: The URL where the ARN is not known.
    arn: str
    visibility_timeout_s: int = VISIBILITY_TIMEOUT_SECONDS_DEFAULT
    #: How long a receive waits that does not say so itself, in seconds.
    wait_s: int = 0
    fifo: bool = False
    dead_letter_arn: str | None = None
    #: Receives after which the queue itself moves a message away; None when it does not.
    max_receive_count: int | None = None


def queue_facts(url: str, attributes: Mapping[str, str]) -> QueueFacts:
    """The facts in the attributes of a queue, which may be none.

    No message can be kept with a VisibilityTimeout of 0, so that counts as SQS's default.
    """
    policy = json.loads(attributes.get("RedrivePolicy") or "{}")
    most = policy.get("maxReceiveCount")
    visibility_timeout_s = int(attributes.get("VisibilityTimeout") or 0)
    return QueueFacts(
        url=url,
        arn=attributes.get("QueueArn", url),
        visibility_timeout_s=visibility_timeout_s or VISIBILITY_TIMEOUT_SECONDS_DEFAULT,
        wait_s=int(attributes.get("ReceiveMessageWaitTimeSeconds") or 0),
        fifo=attributes.get("FifoQueue") == "true" or url.endswith(FIFO_SUFFIX),
        dead_letter_arn=policy.get("deadLetterTargetArn"),
        max_receive_count=None if most is None else int(most),
    )


async def read_facts(context: Context, named: str) -> QueueFacts:
    """Ask SQS about the queue of this name or URL.

    Goes on asking as long as SQS cannot be reached or is overloaded; the first failure is logged.
    Without the right to read attributes the defaults hold. Raises SqsError when there is no such
    queue, and any other ForebayError of the client.
    """
    trouble = Trouble(f"Looking for queue {named}")
    attempt = 0
    while True:
        attempt += 1
        try:
            url = await context.client.queue_url(named, retry=NO_RETRY)
            facts = queue_facts(url, await _attributes(context, url))
        except ForebayError as error:
            if isinstance(error, SqsError) and not is_retryable(error):
                raise SqsError(error.fault, _said_of(named, error)) from error
            if not is_retryable(error):
                raise
            trouble.failed(error)
        else:
            trouble.over()
            return facts
        pause_s = backoff_s(
            attempt, jitter(context.entropy), base_s=_PAUSE_BASE_S, max_s=_PAUSE_MAX_S
        )
        await context.clock.sleep(pause_s)


def _said_of(named: str, error: SqsError) -> str:
    advice = ""
    if error.fault == QUEUE_DOES_NOT_EXIST and "://" in named:
        advice = " Create it, or check its URL and the endpoint and region of the client."
    elif is_denied(error):
        advice = " Grant the worker sqs:GetQueueUrl, or name the queue by its URL."
    return f"Queue {named}: {error.message}{advice}"


def is_denied(error: SqsError) -> bool:
    return error.code in (ACCESS_DENIED.query_code, ACCESS_DENIED.name)


async def _attributes(context: Context, url: str) -> Mapping[str, str]:
    request = GetQueueAttributesRequest(queue_url=url, attribute_names=_ATTRIBUTES)
    try:
        result = await context.client.get_queue_attributes(request, retry=NO_RETRY)
    except SqsError as error:
        if not is_denied(error):
            raise
        _log.warning(
            "The attributes of %s cannot be read, so its visibility timeout is taken to be %d s and"
            " its redrive policy is not known. Grant the worker sqs:GetQueueAttributes. (%s)",
            url,
            VISIBILITY_TIMEOUT_SECONDS_DEFAULT,
            error,
        )
        return {}
    return result.attributes or {}
