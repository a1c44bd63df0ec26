"""AddPermission and RemovePermission: the two actions that write the queue's Policy.

Source: API AddPermission and RemovePermission.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from forebay.broker.core import validation
from forebay.broker.core.policy_document import (
    GRANTABLE_ACTIONS,
    VERSION_DEFAULT,
    account_arn,
    check_action,
    encoded_policy,
    one_or_many,
)
from forebay.broker.core.queue import Queue
from forebay.broker.core.state import Caller, EngineState
from forebay.protocol import errors, limits
from forebay.protocol.actions import AddPermissionRequest, EmptyResult, RemovePermissionRequest
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import is_account_id

_LABEL = re.compile(rf"[\w-]{{1,{limits.PERMISSION_LABEL_CHARACTERS_MAX}}}", re.ASCII)


def add_permission(
    state: EngineState, request: AddPermissionRequest, caller: Caller, now_ms: int
) -> EmptyResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    _check(request)
    policy = _policy(queue)
    statements = policy["Statement"]
    principals = [account_arn(account_id) for account_id in request.aws_account_ids]
    actions = [f"SQS:{GRANTABLE_ACTIONS[action.lower()]}" for action in request.actions]
    permission = {
        "Sid": request.label,
        "Effect": "Allow",
        "Principal": {"AWS": one_or_many(principals)},
        "Action": one_or_many(actions),
        "Resource": queue.arn,
    }
    if permission in statements:
        return EmptyResult()
    if any(statement.get("Sid") == request.label for statement in statements):
        raise validation.invalid("Label", request.label, "Already exists.")
    statements.append(permission)
    if len(statements) > limits.POLICY_STATEMENTS_MAX:
        raise _over_limit("Statements", len(statements), limits.POLICY_STATEMENTS_MAX)
    _set_policy(state, queue, policy, now_ms)
    return EmptyResult()


def remove_permission(
    state: EngineState, request: RemovePermissionRequest, caller: Caller, now_ms: int
) -> EmptyResult:
    queue = state.queue(request.queue_url, caller, now_ms)
    if not request.label:
        raise validation.missing("Label")
    policy = _policy(queue)
    kept = [statement for statement in policy["Statement"] if statement.get("Sid") != request.label]
    if len(kept) == len(policy["Statement"]):
        known = "Policy" in queue.attributes
        reason = "can't find label." if known else "can't find label on existing policy."
        raise validation.invalid("Label", request.label, reason)
    policy["Statement"] = kept
    _set_policy(state, queue, policy, now_ms)
    return EmptyResult()


def _check(request: AddPermissionRequest) -> None:
    if not request.label:
        raise validation.missing("Label")
    if not _LABEL.fullmatch(request.label):
        raise validation.invalid(
            "Label",
            request.label,
            "Can only include alphanumeric characters, hyphens, or underscores."
            f" 1 to {limits.PERMISSION_LABEL_CHARACTERS_MAX} in length.",
        )
    if not request.actions:
        raise validation.missing("Actions")
    if not request.aws_account_ids or not all(map(is_account_id, request.aws_account_ids)):
        listed = ", ".join(request.aws_account_ids)
        raise validation.invalid("PrincipalId", f"[{listed}]", "Unable to verify.")
    if len(request.actions) > limits.PERMISSION_ACTIONS_MAX:
        raise _over_limit("Actions", len(request.actions), limits.PERMISSION_ACTIONS_MAX)
    for action in request.actions:
        check_action(action)


def _over_limit(what: str, count: int, limit: int) -> SqsError:
    return SqsError(errors.OVER_LIMIT, f"{count} {what} were found, maximum allowed is {limit}.")


def _policy(queue: Queue) -> dict[str, Any]:
    """The queue's policy with its statements as a list; an empty one when it has none."""
    text = queue.attributes.get("Policy")
    if not text:
        return {
            "Version": VERSION_DEFAULT,
            "Id": f"{queue.arn}/SQSDefaultPolicy",
            "Statement": [],
        }
    policy = msgspec.json.decode(text, type=dict[str, Any])
    statements = policy.get("Statement", [])
    policy["Statement"] = statements if isinstance(statements, list) else [statements]
    return policy


def _set_policy(state: EngineState, queue: Queue, policy: dict[str, Any], now_ms: int) -> None:
    # An empty text is no policy, and tells that there was one.
    text = encoded_policy(policy) if policy["Statement"] else ""
    attributes = {**queue.attributes, "Policy": text}
    queue.set_attributes(attributes)
    queue.modified_at_ms = now_ms + state.wall_offset_ms
    state.save_queue(queue)
