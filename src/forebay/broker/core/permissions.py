"""AddPermission and RemovePermission: the two actions that write the queue's Policy.

Source: API AddPermission and RemovePermission.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from forebay.broker.core import validation
from forebay.broker.core.queue import Queue
from forebay.broker.core.state import Caller, EngineState
from forebay.protocol import errors, limits
from forebay.protocol.actions import AddPermissionRequest, EmptyResult, RemovePermissionRequest
from forebay.protocol.errors import SqsError

#: The version that SQS gives the policies it writes itself.
_POLICY_VERSION = "2008-10-17"

#: The actions that a queue's owner can grant to other accounts.
#: Source: SQSDeveloperGuide/sqs-api-permissions-reference.html
_GRANTABLE = {
    action.lower(): action
    for action in (
        "*",
        "ChangeMessageVisibility",
        "DeleteMessage",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListDeadLetterSourceQueues",
        "PurgeQueue",
        "ReceiveMessage",
        "SendMessage",
    )
}

_LABEL = re.compile(rf"[\w-]{{1,{limits.PERMISSION_LABEL_CHARACTERS_MAX}}}", re.ASCII)
_ACCOUNT_ID = re.compile(r"\d{12}", re.ASCII)


def add_permission(
    state: EngineState, request: AddPermissionRequest, caller: Caller, now_ms: int
) -> EmptyResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    _check(request)
    policy = _policy(queue)
    statements = policy["Statement"]
    if any(statement.get("Sid") == request.label for statement in statements):
        raise validation.invalid("Label", request.label, "Already exists.")
    principals = [f"arn:aws:iam::{account_id}:root" for account_id in request.aws_account_ids]
    actions = [f"SQS:{_GRANTABLE[action.lower()]}" for action in request.actions]
    statements.append(
        {
            "Sid": request.label,
            "Effect": "Allow",
            "Principal": {"AWS": _one_or_many(principals)},
            "Action": _one_or_many(actions),
            "Resource": queue.arn,
        }
    )
    _set_policy(state, queue, policy, now_ms)
    return EmptyResult()


def remove_permission(
    state: EngineState, request: RemovePermissionRequest, caller: Caller, now_ms: int
) -> EmptyResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    policy = _policy(queue)
    kept = [statement for statement in policy["Statement"] if statement.get("Sid") != request.label]
    if len(kept) == len(policy["Statement"]):
        raise validation.invalid(
            "Label", request.label, "can't find label on existing policy for this queue."
        )
    policy["Statement"] = kept
    _set_policy(state, queue, policy, now_ms)
    return EmptyResult()


def _check(request: AddPermissionRequest) -> None:
    if not _LABEL.fullmatch(request.label):
        raise validation.invalid(
            "Label",
            request.label,
            "Can only include alphanumeric characters, hyphens, or underscores."
            f" 1 to {limits.PERMISSION_LABEL_CHARACTERS_MAX} in length.",
        )
    if not request.actions:
        raise validation.missing("Actions")
    if not request.aws_account_ids:
        raise validation.missing("AWSAccountIds")
    if len(request.actions) > limits.PERMISSION_ACTIONS_MAX:
        raise SqsError(
            errors.OVER_LIMIT,
            f"{len(request.actions)} Actions were found, maximum allowed is"
            f" {limits.PERMISSION_ACTIONS_MAX}.",
        )
    for action in request.actions:
        if action.lower() not in _GRANTABLE:
            raise validation.invalid(
                "ActionName",
                f"SQS:{action}",
                "Only the queue owner is allowed to invoke this action.",
            )
    for account_id in request.aws_account_ids:
        if not _ACCOUNT_ID.fullmatch(account_id):
            raise validation.invalid("PrincipalId", f"[{account_id}]", "Unable to verify.")


def _policy(queue: Queue) -> dict[str, Any]:
    """The queue's policy with its statements as a list; an empty one when it has none."""
    text = queue.attributes.get("Policy")
    if text is None:
        return {
            "Version": _POLICY_VERSION,
            "Id": f"{queue.arn}/SQSDefaultPolicy",
            "Statement": [],
        }
    policy: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    statements = policy.get("Statement", [])
    policy["Statement"] = [
        statement
        for statement in (statements if isinstance(statements, list) else [statements])
        if isinstance(statement, dict)
    ]
    return policy


def _set_policy(state: EngineState, queue: Queue, policy: dict[str, Any], now_ms: int) -> None:
    attributes = {**queue.attributes, "Policy": msgspec.json.encode(policy).decode()}
    if not policy["Statement"]:
        del attributes["Policy"]
    queue.set_attributes(attributes)
    queue.modified_at_ms = now_ms + state.wall_offset_ms
    state.save_queue(queue)


def _one_or_many(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values
