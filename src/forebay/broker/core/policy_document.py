"""The Policy attribute: what SQS takes for one, and the form in which it answers it.

Source: SQSDeveloperGuide/quotas-policies.html and
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html. The form of
the answers is that of policies that AWS gave back:
https://github.com/hashicorp/terraform-provider-aws/issues/24046
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import msgspec

from forebay.protocol import errors, limits
from forebay.protocol.actions import ACTIONS
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import is_account_id

#: The versions of the policy language, and the one that a policy without a Version is written in,
#: as are those that SQS writes itself.
VERSION_DEFAULT = "2008-10-17"
_VERSIONS = ("2012-10-17", VERSION_DEFAULT)

_EFFECTS = ("Allow", "Deny")

#: The actions that a queue's owner can grant to others, by their names in lower case.
#: Source: SQSDeveloperGuide/sqs-api-permissions-reference.html
GRANTABLE_ACTIONS = {
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

#: The actions that a queue's owner keeps, in lower case.
_OWNERS_ACTIONS = {
    action.lower()
    for action in ACTIONS
    if not action.endswith("Batch") and action.lower() not in GRANTABLE_ACTIONS
}

#: The elements of a policy and of a statement, in the order in which SQS answers them.
_POLICY_ELEMENTS = ("Version", "Id", "Statement")
_STATEMENT_ELEMENTS = (
    *("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction"),
    *("Resource", "NotResource", "Condition"),
)

#: Who can be a principal beside accounts and their users. Nobody of these ever asks here.
_OTHER_PRINCIPALS = ("Service", "Federated", "CanonicalUser")

#: A principal: everybody, an account, somebody of an account, or who was of one.
_AWS_PRINCIPAL = re.compile(
    r"\*|\d{12}|arn:[a-z-]+:(iam|sts)::\d{12}:[^*?]+|A[A-Z0-9]{15,127}", re.ASCII
)

_Json: TypeAlias = dict[str, Any]


def canonical_policy(text: str) -> str:
    """The Policy attribute as SQS answers it.

    Raises SqsError: InvalidAttributeValue for what is no policy, InvalidParameterValue for an
    action that nobody can be granted, and OverLimit for more than SQS's quotas allow.
    """
    try:
        policy = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise refused_policy(str(error)) from error
    canonical = _in_order("The policy", policy, _POLICY_ELEMENTS)
    canonical = {"Version": VERSION_DEFAULT, **canonical}
    if canonical["Version"] not in _VERSIONS:
        raise refused_policy(f"Version must be one of {', '.join(_VERSIONS)}.")
    if not isinstance(canonical.get("Id", ""), str):
        raise refused_policy("Id must be a string.")
    statements = _many(canonical.get("Statement") or [])
    if not statements:
        raise refused_policy("A policy needs a Statement.")
    if len(statements) > limits.POLICY_STATEMENTS_MAX:
        raise _too_many("statements", len(statements), "the", limits.POLICY_STATEMENTS_MAX)
    canonical["Statement"] = [_statement(statement) for statement in statements]
    sids = [statement["Sid"] for statement in canonical["Statement"] if "Sid" in statement]
    if len(set(sids)) < len(sids):
        raise refused_policy("Two statements have the same Sid.")
    return encoded_policy(canonical)


def encoded_policy(policy: _Json) -> str:
    """The text of a canonical policy. Raises SqsError (OverLimit) when it is too long."""
    encoded = msgspec.json.encode(policy)
    if len(encoded) > limits.POLICY_BYTES_MAX:
        raise SqsError(errors.OVER_LIMIT, "Submitted policy is over max allowed size.")
    return encoded.decode()


def refused_policy(reason: str) -> SqsError:
    """The error for a policy that SQS does not take. AWS gives no reason, the log may."""
    return SqsError(
        errors.INVALID_ATTRIBUTE_VALUE,
        "Invalid value for the parameter Policy.",
        log_detail=reason,
    )


def account_arn(account_id: str) -> str:
    """The Amazon Resource Name by which a policy names an account."""
    return f"arn:aws:iam::{account_id}:root"


def check_action(action: str) -> None:
    """Raise SqsError unless others than the owner can be granted the action, named without sqs:."""
    name = action.lower()
    if name in GRANTABLE_ACTIONS:
        return
    reason = (
        "Only the queue owner is allowed to invoke this action."
        if name in _OWNERS_ACTIONS
        else "Please refer to the appropriate WSDL for a list of valid actions."
    )
    raise SqsError(
        errors.INVALID_PARAMETER_VALUE,
        f"Value SQS:{action} for parameter ActionName is invalid. Reason: {reason}",
    )


def _statement(given: object) -> _Json:
    statement = _in_order("A statement", given, _STATEMENT_ELEMENTS)
    if not isinstance(statement.get("Sid", ""), str):
        raise refused_policy("Sid must be a string.")
    if statement.get("Effect") not in _EFFECTS:
        raise refused_policy("Effect must be Allow or Deny.")
    for name, read in _ALTERNATIVES.items():
        given_as = [element for element in (name, f"Not{name}") if element in statement]
        if len(given_as) != 1:
            raise refused_policy(f"A statement needs either {name} or Not{name}.")
        statement[given_as[0]] = read(given_as[0], statement[given_as[0]])
    if "Condition" in statement:
        _check_condition(statement["Condition"])
    return statement


def _principals(element: str, given: object) -> object:
    if given == "*":
        return given
    kinds = _in_order(element, given, ("AWS", *_OTHER_PRINCIPALS))
    if not kinds:
        raise refused_policy(f"{element} names nobody.")
    named = {kind: _texts(element, names) for kind, names in kinds.items()}
    count = sum(map(len, named.values()))
    if count > limits.POLICY_PRINCIPALS_MAX:
        raise _too_many("principals", count, "a statement from the", limits.POLICY_PRINCIPALS_MAX)
    for name in named.get("AWS", ()):
        if not _AWS_PRINCIPAL.fullmatch(name):
            raise refused_policy(
                f"{name!r} is no principal. Name an account id, an ARN, or * alone."
            )
    return {
        kind: one_or_many([account_arn(name) if is_account_id(name) else name for name in names])
        for kind, names in named.items()
    }


def _actions(element: str, given: object) -> object:
    actions = _texts(element, given)
    if len(actions) > limits.PERMISSION_ACTIONS_MAX:
        raise _too_many(
            "actions", len(actions), "a statement from the", limits.PERMISSION_ACTIONS_MAX
        )
    for action in actions:
        service, colon, name = action.partition(":")
        if action == "*" or (service.lower() == "sqs" and ("*" in name or "?" in name)):
            continue
        if service.lower() != "sqs" or not colon:
            raise refused_policy(f"{action!r} is no action of SQS.")
        if name.lower() not in _OWNERS_ACTIONS:
            check_action(name)
    return one_or_many(actions)


def _resources(element: str, given: object) -> object:
    return one_or_many(_texts(element, given))


#: What reads the elements that a statement must have, each with or without Not before its name.
_ALTERNATIVES = {"Principal": _principals, "Action": _actions, "Resource": _resources}


def _check_condition(given: object) -> None:
    if not isinstance(given, dict) or not all(isinstance(keys, dict) for keys in given.values()):
        raise refused_policy("Condition must be a map of operators, and each a map of keys.")
    count = sum(map(len, given.values()))
    if count > limits.POLICY_CONDITIONS_MAX:
        raise _too_many("conditions", count, "a statement from the", limits.POLICY_CONDITIONS_MAX)
    for keys in given.values():
        for key, values in keys.items():
            if not all(isinstance(value, str | int | float) for value in _many(values)):
                raise refused_policy(f"The values of {key} must be strings, numbers or booleans.")


def _in_order(what: str, given: object, elements: tuple[str, ...]) -> _Json:
    """The elements of a JSON object in the order of SQS's answers. null stands for nothing."""
    if not isinstance(given, dict):
        raise refused_policy(f"{what} must be a JSON object.")
    unknown = given.keys() - set(elements)
    if unknown:
        raise refused_policy(f"{what} has no element {min(unknown)}.")
    return {name: given[name] for name in elements if given.get(name) is not None}


def _texts(element: str, given: object) -> list[str]:
    texts = _many(given)
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise refused_policy(
            f"{element} must be a string or a list of strings, none of them empty."
        )
    return texts


def _many(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def one_or_many(values: list[str]) -> str | list[str]:
    """How an element is written that may have several values."""
    return values[0] if len(values) == 1 else values


def _too_many(what: str, count: int, where: str, limit: int) -> SqsError:
    return SqsError(
        errors.OVER_LIMIT,
        f"{count} {what} were found in {where} submitted policy, max allowed is {limit}",
    )
