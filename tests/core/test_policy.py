"""Who may do what to a queue: the rules of keys and policies as tables."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.broker.policy import (
    OWNER_ONLY,
    Context,
    Denial,
    Grant,
    Principal,
    decide,
    parse_policy,
)
from forebay.protocol.actions import ACTIONS
from forebay.protocol.identifiers import QueueKey, queue_arn

HERE, THERE, ELSEWHERE = "111111111111", "222222222222", "333333333333"
JOBS = QueueKey("us-east-1", HERE, "jobs")
ARN = queue_arn(JOBS)
OWNER = Principal(HERE)
ALICE = Principal(HERE, "alice")
BOB = Principal(THERE, "bob")
CONTEXT = Context("10.1.2.3", secure=False, wall_ms=1_772_366_400_000)

Json = dict[str, Any]


def allow(**changes: object) -> Json:
    """A statement that allows everybody everything, but for the changes."""
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": ARN, **changes}
    return {name: value for name, value in statement.items() if value is not None}


def deny(**changes: object) -> Json:
    return allow(Effect="Deny", **changes)


def decision(
    principal: Principal,
    action: str,
    *statements: Json,
    queue: QueueKey = JOBS,
    context: Context = CONTEXT,
) -> Denial | None:
    policy = parse_policy(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))
    assert not policy.problems
    return decide(principal, action, queue, queue_arn(queue), policy, context)


SENDER = Principal(HERE, "sender", Grant(actions=("sqs:SendMessage", "sqs:Get*")))
ORDERS = Principal(HERE, "orders", Grant(queues=("orders*", "order?")))
FOREIGN_SENDER = Principal(THERE, "sender", Grant(actions=("sqs:SendMessage",)))
SEND, RECEIVE = "SendMessage", "ReceiveMessage"
EXPLICIT, BY_KEY, BY_POLICY = Denial.EXPLICIT, Denial.BY_KEY, Denial.BY_POLICY


def to(name: str) -> Json:
    return {"AWS": name}


#: Case; who; does what; under which statements; why not.
TABLE: list[tuple[str, Principal, str, list[Json], Denial | None]] = [
    # The key alone
    ("the owner needs no policy", OWNER, SEND, [], None),
    ("a user of the owner needs no policy", ALICE, "DeleteQueue", [], None),
    ("a key's list of actions lets in", SENDER, SEND, [], None),
    ("a key's pattern of actions lets in", SENDER, "GetQueueUrl", [], None),
    ("a key's list of actions keeps out", SENDER, RECEIVE, [], BY_KEY),
    ("a key's list of queues keeps out", ORDERS, SEND, [], BY_KEY),
    ("an empty list keeps all out", Principal(HERE, None, Grant(actions=())), SEND, [], BY_KEY),
    ("a policy does not widen its own account's key", SENDER, RECEIVE, [allow()], BY_KEY),
    # Other accounts
    ("a stranger needs a policy", BOB, SEND, [], BY_POLICY),
    ("a policy for everybody lets a stranger in", BOB, SEND, [allow()], None),
    ("a stranger's key keeps out too", FOREIGN_SENDER, RECEIVE, [allow()], BY_KEY),
    ("a stranger's key and the policy let in", FOREIGN_SENDER, SEND, [allow()], None),
    # Principal
    ("everybody by account", BOB, SEND, [allow(Principal=to("*"))], None),
    ("the account's id", BOB, SEND, [allow(Principal=to(THERE))], None),
    ("the account's root", BOB, SEND, [allow(Principal=to(f"arn:aws:iam::{THERE}:root"))], None),
    ("the user", BOB, SEND, [allow(Principal=to(f"arn:aws:iam::{THERE}:user/bob"))], None),
    ("another user", BOB, SEND, [allow(Principal=to(f"arn:aws:iam::{THERE}:user/b"))], BY_POLICY),
    ("a user's name in other letters", BOB, SEND,
     [allow(Principal=to(f"arn:aws:iam::{THERE}:user/Bob"))], BY_POLICY),
    ("another account", BOB, SEND, [allow(Principal=to(ELSEWHERE))], BY_POLICY),
    ("one of several accounts", BOB, SEND, [allow(Principal={"AWS": [ELSEWHERE, THERE]})], None),
    ("a service", BOB, SEND, [allow(Principal={"Service": "sns.amazonaws.com"})], BY_POLICY),
    ("a service or the account", BOB, SEND,
     [allow(Principal={"Service": "sns.amazonaws.com", "AWS": THERE})], None),
    ("everybody but another", BOB, SEND, [allow(Principal=None, NotPrincipal=to(ELSEWHERE))], None),
    ("everybody but the caller", BOB, SEND,
     [allow(Principal=None, NotPrincipal=to(THERE))], BY_POLICY),
    # Action
    ("the action", BOB, SEND, [allow(Action="sqs:SendMessage")], None),
    ("the action in other letters", BOB, SEND, [allow(Action="SQS:sendmessage")], None),
    ("a pattern of actions", BOB, SEND, [allow(Action="sqs:Send*")], None),
    ("a pattern with one open letter", BOB, SEND, [allow(Action="sqs:?endMessage")], None),
    ("any action of any service", BOB, SEND, [allow(Action="*")], None),
    ("another action", BOB, SEND, [allow(Action="sqs:ReceiveMessage")], BY_POLICY),
    ("an action of another service", BOB, SEND, [allow(Action="sns:SendMessage")], BY_POLICY),
    ("one of several actions", BOB, SEND, [allow(Action=["sqs:GetQueueUrl", "sqs:Send*"])], None),
    ("brackets are no pattern", BOB, SEND, [allow(Action="sqs:[S]endMessage")], BY_POLICY),
    ("all actions but others", BOB, SEND, [allow(Action=None, NotAction="sqs:Receive*")], None),
    ("all actions but this", BOB, SEND, [allow(Action=None, NotAction="sqs:Send*")], BY_POLICY),
    # Resource
    ("any resource", BOB, SEND, [allow(Resource="*")], None),
    ("a pattern of resources", BOB, SEND, [allow(Resource=f"arn:aws:sqs:*:{HERE}:j*")], None),
    ("a pattern over the parts of an ARN", BOB, SEND, [allow(Resource="arn:aws:sqs:*")], None),
    ("another queue", BOB, SEND, [allow(Resource=ARN + "2")], BY_POLICY),
    ("the queue in other letters", BOB, SEND, [allow(Resource=ARN.upper())], BY_POLICY),
    ("one of several resources", BOB, SEND, [allow(Resource=["arn:aws:sqs:*:*:x", ARN])], None),
    ("all resources but this", BOB, SEND, [allow(Resource=None, NotResource=ARN)], BY_POLICY),
    # Deny
    ("an owner can be denied", OWNER, SEND, [deny()], EXPLICIT),
    ("a user of the owner can be denied", ALICE, SEND,
     [deny(Principal=to(f"arn:aws:iam::{HERE}:user/alice"))], EXPLICIT),
    ("another user of the owner is not", OWNER, SEND,
     [deny(Principal=to(f"arn:aws:iam::{HERE}:user/alice"))], None),
    ("a stranger is denied what is allowed", BOB, SEND, [allow(), deny()], EXPLICIT),
    ("a denied action leaves the others", BOB, RECEIVE, [allow(), deny(Action="sqs:S*")], None),
    ("a Deny comes before the key", SENDER, RECEIVE, [deny()], EXPLICIT),
    ("all but one are denied", BOB, SEND,
     [allow(), deny(Principal=None, NotPrincipal=to(f"arn:aws:iam::{THERE}:user/bob"))], None),
    # Conditions
    ("a condition that holds", BOB, SEND,
     [allow(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})], None),
    ("a condition that does not", BOB, SEND,
     [allow(Condition={"IpAddress": {"aws:SourceIp": "192.168.0.0/16"}})], BY_POLICY),
    ("two conditions of which one holds", BOB, SEND,
     [allow(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"},
                       "Bool": {"aws:SecureTransport": "true"}})], BY_POLICY),
    ("plain text is denied", ALICE, SEND,
     [deny(Condition={"Bool": {"aws:SecureTransport": False}})], EXPLICIT),
    ("messages from a topic", BOB, SEND,
     [allow(Condition={"ArnEquals": {"aws:SourceArn": "arn:aws:sns:*:*:*"}})], BY_POLICY),
    ("only messages from a topic", ALICE, SEND,
     [deny(Condition={"ArnNotEquals": {"aws:SourceArn": "arn:aws:sns:*:*:*"}})], EXPLICIT),
    ("an Allow for a key not known here", BOB, SEND,
     [allow(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}})], BY_POLICY),
    ("an Allow against a key not known here", BOB, SEND,
     [allow(Condition={"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}})], BY_POLICY),
    ("an Allow if a key not known here exists", BOB, SEND,
     [allow(Condition={"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}})], BY_POLICY),
    ("a Deny for a key not known here", BOB, SEND,
     [allow(), deny(Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}})], None),
    ("a Deny against a key not known here", BOB, SEND,
     [allow(), deny(Condition={"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}})], EXPLICIT),
]  # fmt: skip


@pytest.mark.parametrize(
    ("principal", "action", "statements", "denial"),
    [row[1:] for row in TABLE],
    ids=[row[0] for row in TABLE],
)
def test_a_request_is_decided(
    principal: Principal, action: str, statements: list[Json], denial: Denial | None
) -> None:
    assert decision(principal, action, *statements) is denial


@pytest.mark.parametrize("action", sorted(OWNER_ONLY))
def test_no_policy_opens_the_owners_actions_to_strangers(action: str) -> None:
    assert action in ACTIONS
    assert decision(BOB, action, allow()) is BY_POLICY
    assert decision(ALICE, action) is None


@pytest.mark.parametrize(
    ("name", "denial"),
    [("orders", None), ("orders.fifo", None), ("order7", None), ("order", BY_KEY), ("x", BY_KEY)],
)
def test_a_key_may_be_for_some_queues_only(name: str, denial: Denial | None) -> None:
    assert decision(ORDERS, SEND, queue=QueueKey("us-east-1", HERE, name)) is denial


STATEMENTS = st.builds(
    allow,
    Effect=st.sampled_from(["Allow", "Deny"]),
    Principal=st.sampled_from(["*", to(HERE), to(THERE), {"AWS": [THERE, ELSEWHERE]}]),
    Action=st.sampled_from(["sqs:*", "sqs:SendMessage", "sqs:Receive*", ["sqs:Get*", "*"]]),
    Resource=st.sampled_from(["*", ARN, "arn:aws:sqs:*:*:other"]),
    Condition=st.sampled_from(
        [None, {"Bool": {"aws:SecureTransport": "false"}}, {"Null": {"aws:SourceIp": "true"}}]
    ),
)
PRINCIPALS = st.sampled_from([OWNER, ALICE, SENDER, BOB, FOREIGN_SENDER])
NAMES = st.sampled_from(sorted(ACTIONS))


@given(PRINCIPALS, NAMES, st.lists(STATEMENTS, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_statements_does_not_matter(
    principal: Principal, action: str, statements: list[Json], shuffle: random.Random
) -> None:
    before = decision(principal, action, *statements)
    shuffle.shuffle(statements)
    assert decision(principal, action, *statements) is before


@given(PRINCIPALS, NAMES, st.lists(STATEMENTS, max_size=6), st.integers(0, 6))
def test_a_deny_wins_wherever_it_stands(
    principal: Principal, action: str, statements: list[Json], place: int
) -> None:
    statements.insert(place, deny())
    assert decision(principal, action, *statements) is EXPLICIT


@given(PRINCIPALS, NAMES, st.lists(STATEMENTS, max_size=6), STATEMENTS)
def test_another_allow_never_takes_away_and_another_deny_never_gives(
    principal: Principal, action: str, statements: list[Json], another: Json
) -> None:
    before = decision(principal, action, *statements)
    after = decision(principal, action, *statements, another)
    if before is None and another["Effect"] == "Allow":
        assert after is None
    if before is not None and another["Effect"] == "Deny":
        assert after is not None


#: What AWS would refuse to set as a policy, and what is said of it.
UNREADABLE = [
    ("{", "Input data was truncated"),
    ("[]", "Expected `object`, got `array`"),
    ("{}", "Object missing required field `Statement`"),
    ('{"Statement": "x"}', "Expected `object`, got `str`"),
    ('{"Statement": [' + "[" * 10_000, ""),
    (json.dumps({"Statement": allow(Effect="Maybe")}), "Invalid enum value 'Maybe' - at"),
    (json.dumps({"Statement": allow(Efect="Deny")}), "Object contains unknown field `Efect`"),
    (json.dumps({"Statement": allow(Principal=None)}),
     "A statement needs either Principal or NotPrincipal."),
    (json.dumps({"Statement": allow(NotAction="sqs:*")}),
     "A statement needs either Action or NotAction."),
    (json.dumps({"Statement": allow(Principal=THERE)}),
     f"'{THERE}' is no principal. Name an account id, an ARN, or * alone."),
    (json.dumps({"Statement": allow(Principal=to("arn:aws:iam::*:root"))}),
     "'arn:aws:iam::*:root' is no principal."),
    (json.dumps({"Statement": allow(Condition={"StringSounds": {"aws:SourceIp": "x"}})}),
     "There is no condition operator StringSounds."),
    (json.dumps({"Statement": allow(Condition={"NotIpAddress": {"aws:SourceIp": "10/8"}})}),
     "NotIpAddress cannot read the values of aws:SourceIp:"),
    (json.dumps({"Statement": allow(Condition={"NotIpAddress": {"aws:SourceIp": []}})}),
     "NotIpAddress needs a value for aws:SourceIp."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "problem"), UNREADABLE)
def test_a_policy_that_cannot_be_read_says_why_and_allows_nobody(text: str, problem: str) -> None:
    policy = parse_policy(text)
    assert len(policy.problems) == 1
    assert policy.problems[0].startswith(problem)
    assert decide(BOB, SEND, JOBS, ARN, policy, CONTEXT) is BY_POLICY


def test_a_statement_that_cannot_be_read_does_not_silence_the_others() -> None:
    policy = parse_policy(json.dumps({"Statement": [deny(), allow(Effect="Maybe")]}))
    assert decide(ALICE, SEND, JOBS, ARN, policy, CONTEXT) is EXPLICIT


def test_what_add_permission_writes_is_understood() -> None:
    statement = {
        "Sid": "partner",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{THERE}:root"},
        "Action": "SQS:SendMessage",
        "Resource": ARN,
    }
    policy = parse_policy(
        json.dumps(
            {"Version": "2008-10-17", "Id": f"{ARN}/SQSDefaultPolicy", "Statement": statement}
        )
    )
    assert decide(BOB, SEND, JOBS, ARN, policy, CONTEXT) is None
    assert decide(BOB, RECEIVE, JOBS, ARN, policy, CONTEXT) is BY_POLICY


def test_a_queue_without_a_policy_has_no_problem() -> None:
    assert parse_policy(None).problems == ()


@pytest.mark.timeout(10)
def test_no_pattern_takes_long_to_match() -> None:
    pattern = "*a" * 1_000 + "b"
    assert (
        decision(BOB, SEND, allow(Resource=pattern), queue=QueueKey("us-east-1", HERE, "a" * 80))
        is BY_POLICY
    )
