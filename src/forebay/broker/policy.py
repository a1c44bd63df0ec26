"""Whether a request is allowed: by the key that signed it, and by the policy of the queue. Pure.

A key may do what its grant says with the queues of its own account. With the queues of others it
may do what their policies allow as well. A policy's Deny beats everything.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html and
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-limitations-of-custom-policies.html
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from forebay.broker.conditions import Condition, parse_condition
from forebay.broker.wildcards import wildcard
from forebay.protocol.identifiers import QueueKey

#: Actions that no policy can allow to another account.
OWNER_ONLY = frozenset(
    {
        "AddPermission",
        "CancelMessageMoveTask",
        "CreateQueue",
        "DeleteQueue",
        "ListMessageMoveTasks",
        "ListQueueTags",
        "ListQueues",
        "RemovePermission",
        "SetQueueAttributes",
        "StartMessageMoveTask",
        "TagQueue",
        "UntagQueue",
    }
)

#: The keys that conditions can ask for, in lower case. The last five tell of AWS's own services and
#: networks, so that nothing is ever known for them here.
_KEYS = frozenset(
    {
        "aws:currenttime",
        "aws:epochtime",
        "aws:principalaccount",
        "aws:principalarn",
        "aws:securetransport",
        "aws:sourceip",
        "aws:username",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceorgid",
        "aws:sourcevpc",
        "aws:sourcevpce",
    }
)


class Grant(Struct, frozen=True):
    """What a key may do at most: actions such as `sqs:Send*`, and names of queues."""

    actions: tuple[str, ...] = ("sqs:*",)
    queues: tuple[str, ...] = ("*",)

    def allows(self, action: str, queue_name: str) -> bool:
        """Whether the grant covers an action on a queue."""
        name = f"sqs:{action}".lower()
        return any(wildcard(pattern.lower()).fullmatch(name) for pattern in self.actions) and any(
            wildcard(pattern).fullmatch(queue_name) for pattern in self.queues
        )


class Principal(Struct, frozen=True):
    """Who asks: an account, or a user of it."""

    account_id: str
    user: str | None = None
    grant: Grant = Grant()

    @property
    def arn(self) -> str:
        """The Amazon Resource Name that policies and error messages use."""
        name = "root" if self.user is None else f"user/{self.user}"
        return f"arn:aws:iam::{self.account_id}:{name}"


class Context(Struct, frozen=True):
    """The circumstances of a request that conditions can ask for."""

    #: The client's address; None when there is none.
    source_ip: str | None
    #: Whether the request came over TLS.
    secure: bool
    #: Milliseconds since the Unix epoch.
    wall_ms: int


class Denial(Enum):
    """Why a request is not allowed, in AWS's words."""

    EXPLICIT = "with an explicit deny in a resource-based policy"
    BY_KEY = "because no identity-based policy allows the {action} action"
    BY_POLICY = "because no resource-based policy allows the {action} action"


class Element(Struct, frozen=True):
    """Principal, Action or Resource of a statement, or one of these with Not before its name."""

    patterns: tuple[re.Pattern[str], ...]
    negated: bool

    def covers(self, *names: str) -> bool:
        """Whether the element means what goes by these names."""
        found = any(pattern.fullmatch(name) for pattern in self.patterns for name in names)
        return found != self.negated


class Statement(Struct, frozen=True):
    """One statement of a policy."""

    effect: Literal["Allow", "Deny"]
    principal: Element
    #: In lower case: names of actions are not case-sensitive.
    action: Element
    resource: Element
    conditions: tuple[Condition, ...]


class Policy(Struct, frozen=True):
    """The statements of a policy, and what was wrong with those that could not be read."""

    statements: tuple[Statement, ...] = ()
    problems: tuple[str, ...] = ()


_NO_POLICY = Policy()

_T = TypeVar("_T")


def decide(
    principal: Principal,
    action: str,
    queue: QueueKey,
    queue_arn: str,
    policy: Policy,
    context: Context,
) -> Denial | None:
    """Why `principal` may not do `action` to a queue; None when it may.

    `action` is the name of a single action: a batch is allowed when its single action is.
    """
    effects = _effects(principal, action, queue_arn, policy, context)
    if "Deny" in effects:
        return Denial.EXPLICIT
    if not principal.grant.allows(action, queue.name):
        return Denial.BY_KEY
    if queue.account_id == principal.account_id:
        return None
    if "Allow" in effects and action not in OWNER_ONLY:
        return None
    return Denial.BY_POLICY


def parse_policy(text: str | None) -> Policy:
    """Read a queue's Policy; None is the policy of a queue that has none.

    A statement that cannot be read says nothing, and the policy's `problems` tell why. Nor does an
    Allow whose conditions ask for a key that is not known here: what AWS would allow only sometimes
    is not allowed.
    """
    if text is None:
        return _NO_POLICY
    return _parse(text)


@lru_cache(maxsize=1024)
def _parse(text: str) -> Policy:
    try:
        parts = msgspec.json.decode(text, type=_PolicyJson).statement
    except (msgspec.MsgspecError, RecursionError) as error:
        return Policy(problems=(str(error),))
    statements, problems = [], []
    for part in parts if isinstance(parts, list) else [parts]:
        try:
            statement = _statement(msgspec.convert(part, _StatementJson))
        except ValueError as error:  # What msgspec raises is one, too.
            problems.append(str(error))
        else:
            if statement.effect == "Deny" or all(c.key in _KEYS for c in statement.conditions):
                statements.append(statement)
    return Policy(tuple(statements), tuple(problems))


_Texts: TypeAlias = str | list[str]
_Value: TypeAlias = str | bool | int | float


class _PolicyJson(Struct, rename="pascal"):
    statement: Any


class _StatementJson(Struct, rename="pascal", forbid_unknown_fields=True):
    effect: Literal["Allow", "Deny"]
    sid: str | None = None
    principal: str | dict[str, _Texts] | None = None
    not_principal: str | dict[str, _Texts] | None = None
    action: _Texts | None = None
    not_action: _Texts | None = None
    resource: _Texts | None = None
    not_resource: _Texts | None = None
    condition: dict[str, dict[str, _Value | list[_Value]]] = {}


def _statement(json: _StatementJson) -> Statement:
    """Raises ValueError when a part is missing or is not as IAM has it."""
    return Statement(
        json.effect,
        _element("Principal", _principals(json.principal), _principals(json.not_principal)),
        _element("Action", _lower(json.action), _lower(json.not_action)),
        _element("Resource", json.resource, json.not_resource),
        tuple(
            parse_condition(operator, key, [_text(value) for value in _many(values)])
            for operator, comparisons in json.condition.items()
            for key, values in comparisons.items()
        ),
    )


def _element(name: str, given: _Texts | None, given_not: _Texts | None) -> Element:
    values = given if given_not is None else given_not
    if values is None or (given is not None and given_not is not None):
        raise ValueError(f"A statement needs either {name} or Not{name}.")
    return Element(tuple(wildcard(value) for value in _many(values)), given_not is not None)


def _principals(given: str | dict[str, _Texts] | None) -> list[str] | None:
    """The accounts and users among the principals. AWS's services never ask here."""
    if given is None:
        return None
    names = [given] if isinstance(given, str) else _many(given.get("AWS", []))
    for name in names:
        if name != "*" and (isinstance(given, str) or "*" in name or "?" in name):
            raise ValueError(f"{name!r} is no principal. Name an account id, an ARN, or * alone.")
    return names


def _lower(texts: _Texts | None) -> list[str] | None:
    return None if texts is None else [text.lower() for text in _many(texts)]


def _many(values: _T | list[_T]) -> list[_T]:
    return values if isinstance(values, list) else [values]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _effects(
    principal: Principal, action: str, queue_arn: str, policy: Policy, context: Context
) -> set[str]:
    """The effects of the statements that apply to a request."""
    if not policy.statements:
        return set()
    root = f"arn:aws:iam::{principal.account_id}:root"
    known = _known(principal, context)
    return {
        statement.effect
        for statement in policy.statements
        if statement.principal.covers(principal.account_id, root, principal.arn)
        and statement.action.covers(f"sqs:{action}".lower())
        and statement.resource.covers(queue_arn)
        and all(condition.holds(known.get(condition.key)) for condition in statement.conditions)
    }


def _known(principal: Principal, context: Context) -> dict[str, str | None]:
    """What conditions are told, by key."""
    return {
        "aws:currenttime": datetime.fromtimestamp(context.wall_ms / 1000, UTC).isoformat(),
        "aws:epochtime": str(context.wall_ms // 1000),
        "aws:principalaccount": principal.account_id,
        "aws:principalarn": principal.arn,
        "aws:securetransport": "true" if context.secure else "false",
        "aws:sourceip": context.source_ip,
        "aws:username": principal.user,
    }
