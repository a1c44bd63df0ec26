"""What a consumer tells whoever watches it, such as the lab, of its steps."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct


class StepKind(StrEnum):
    """What a step is."""

    #: The side effect of a message was done. `subject` is its message group, or else what it was
    #: done to; `value` is the payload's SIDE_EFFECT_LOG_FIELD, if that is a number.
    PERFORMED = "performed"
    #: A version was applied: `subject` is the entity, `value` the version.
    APPLIED = "applied"
    #: Nothing was done, because it was done before or is stale; `text` says which.
    SKIPPED = "skipped"
    #: A message failed; `text` says why.
    FAILED = "failed"
    #: The process is about to crash; `text` says by which variable.
    CRASH = "crash"


class Step(Struct, frozen=True, kw_only=True):
    """Something that the consumer did."""

    kind: StepKind
    #: The message's id: the payload's, or else SQS's.
    id: str
    subject: str = ""
    value: float = 0
    text: str = ""


#: Is told each step, in the moment of it.
Note: TypeAlias = Callable[[Step], None]

_log = logging.getLogger(__name__)


def logged(note: Note) -> Note:
    """Log each step, and pass it on. What failed is logged by the worker."""

    def log(step: Step) -> None:
        match step.kind:
            case StepKind.PERFORMED:
                _log.info("Message %s: its effect is done.", step.id)
            case StepKind.APPLIED:
                _log.info(
                    "Message %s: version %d of %s is applied.", step.id, step.value, step.subject
                )
            case StepKind.SKIPPED:
                _log.info("Message %s: nothing is done, because %s.", step.id, step.text)
            case StepKind.CRASH:
                _log.error("Message %s: crash, as %s says.", step.id, step.text)
        note(step)

    return log
