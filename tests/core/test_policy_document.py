"""The Policy attribute: what is taken for one, and how it is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.broker.core.engine import Engine
from forebay.broker.core.policy_document import canonical_policy
from forebay.broker.policy import Context, Principal, decide, parse_policy
from forebay.protocol import errors
from forebay.protocol.actions import CreateQueueRequest, SetQueueAttributesRequest
from forebay.protocol.errors import SqsError
from forebay.protocol.identifiers import QueueKey, queue_arn
from tests.core.harness import Sqs, url_of

HERE, THERE = "111111111111", "222222222222"
JOBS = QueueKey("us-east-1", HERE, "jobs")
ARN = queue_arn(JOBS)
Json = dict[str, Any]
STATEMENT: Json = {
    "Effect": "Allow",
    "Principal": {"AWS": THERE},
    "Action": "sqs:SendMessage",
    "Resource": ARN,
}


def statement(**changed: object) -> Json:
    """One that is taken, but for what is changed; None takes an element away."""
    return {name: value for name, value in (STATEMENT | changed).items() if value is not None}


def policy(*statements: object, **more: object) -> str:
    return json.dumps({"Version": "2012-10-17", **more, "Statement": list(statements)})


def test_a_policy_is_answered_compact_in_order_and_with_nothing_in_lists_of_one() -> None:
    given_policy = {
        "Statement": {
            "Condition": {"Bool": {"aws:SecureTransport": ["false"]}},
            "Resource": [ARN],
            "NotAction": ["sqs:SendMessage"],
            "NotPrincipal": {"AWS": [THERE], "Service": ["sns.amazonaws.com", "s3.amazonaws.com"]},
            "Effect": "Deny",
            "Sid": "one",
        },
        "Id": "mine",
    }
    assert canonical_policy(json.dumps(given_policy, indent=4)) == (
        '{"Version":"2008-10-17","Id":"mine","Statement":[{"Sid":"one","Effect":"Deny",'
        f'"NotPrincipal":{{"AWS":"arn:aws:iam::{THERE}:root",'
        '"Service":["sns.amazonaws.com","s3.amazonaws.com"]},'
        f'"NotAction":"sqs:SendMessage","Resource":"{ARN}",'
        '"Condition":{"Bool":{"aws:SecureTransport":["false"]}}}]}'
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"Principal": "*"},
        {"Principal": {"AWS": "*"}},
        {"Principal": {"AWS": [HERE, f"arn:aws:iam::{THERE}:user/bob"]}},
        {"Principal": {"AWS": "arn:aws:sts::222222222222:assumed-role/worker/session"}},
        {"Principal": {"AWS": "AROAEXAMPLEEXAMPLE1"}},
        {"Principal": {"Service": "sns.amazonaws.com"}},
        {"Principal": {"AWS": [f"{number:012}" for number in range(50)]}},
        {"Action": "*"},
        {"Action": "SQS:*"},
        {"Action": ["sqs:Send*", "sqs:sendmessage", "sqs:Get?ueueUrl"]},
        {"Effect": "Deny", "Action": "sqs:DeleteQueue"},
        {"Resource": ["*", ARN]},
        {"Sid": ""},
        {"Condition": {}},
        {"Condition": {"StringEquals": {f"aws:Key{number}": "x" for number in range(10)}}},
        {"Condition": {"NumericLessThan": {"aws:EpochTime": 5}, "Null": {"aws:X": True}}},
    ],
)
def test_statements_that_are_taken(changed: Json) -> None:
    text = canonical_policy(policy(statement(**changed)))
    assert canonical_policy(text) == text
    assert parse_policy(text).problems == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "truncated"),
        ("[]", "must be a JSON object"),
        ('"x"', "must be a JSON object"),
        ("null", "must be a JSON object"),
        ("[" * 100_000, ""),
        ("{}", "needs a Statement"),
        (policy(), "needs a Statement"),
        (policy("x"), "A statement must be a JSON object"),
        (policy([statement()]), "A statement must be a JSON object"),
        (policy(statement(), Version="2020-01-01"), "Version must be one of"),
        (policy(statement(), Version=["2012-10-17"]), "Version must be one of"),
        (policy(statement(), Id=5), "Id must be a string"),
        (policy(statement(), Colour="red"), "no element Colour"),
        (policy(statement(Colour="red")), "no element Colour"),
        (policy(statement(Sid=1)), "Sid must be a string"),
        (policy(statement(Sid="a"), statement(Sid="a")), "the same Sid"),
        (policy(statement(Effect=None)), "Effect must be"),
        (policy(statement(Effect="allow")), "Effect must be"),
        (policy(statement(Effect=["Allow"])), "Effect must be"),
        (policy(statement(Principal=None)), "either Principal or NotPrincipal"),
        (policy(statement(NotPrincipal="*")), "either Principal or NotPrincipal"),
        (policy(statement(Principal=THERE)), "Principal must be a JSON object"),
        (policy(statement(Principal={})), "names nobody"),
        (policy(statement(Principal={"AWS": []})), "Principal must be a string or a list"),
        (
            policy(statement(Principal={"AWS": 222222222222})),
            "Principal must be a string or a list",
        ),
        (policy(statement(Principal={"Group": "x"})), "no element Group"),
        (policy(statement(Principal={"AWS": "bob"})), "is no principal"),
        (policy(statement(Principal={"AWS": "arn:aws:iam::*:root"})), "is no principal"),
        (policy(statement(Action=None)), "either Action or NotAction"),
        (policy(statement(NotAction="*")), "either Action or NotAction"),
        (policy(statement(Action=[])), "Action must be a string or a list"),
        (policy(statement(Action={"sqs": 1})), "Action must be a string or a list"),
        (policy(statement(Action="sns:Publish")), "no action of SQS"),
        (policy(statement(Action="SendMessage")), "no action of SQS"),
        (policy(statement(Resource=None)), "either Resource or NotResource"),
        (policy(statement(Resource="")), "none of them empty"),
        (policy(statement(Condition="x")), "Condition must be a map"),
        (policy(statement(Condition={"Bool": "x"})), "Condition must be a map"),
        (policy(statement(Condition={"Bool": {"aws:X": {}}})), "must be strings, numbers"),
    ],
)
def test_what_is_no_policy_is_refused_and_the_log_may_say_why(text: str, reason: str) -> None:
    with pytest.raises(SqsError) as refusal:
        canonical_policy(text)
    assert refusal.value.fault is errors.INVALID_ATTRIBUTE_VALUE
    assert refusal.value.message == "Invalid value for the parameter Policy."
    assert reason in (refusal.value.log_detail or "")


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (
            {"Principal": {"AWS": [HERE] * 26, "Service": ["sns.amazonaws.com"] * 25}},
            "51 principals were found in a statement from the submitted policy, max allowed is 50",
        ),
        (
            {"NotAction": ["sqs:SendMessage"] * 8, "Action": None},
            "8 actions were found in a statement from the submitted policy, max allowed is 7",
        ),
        (
            {"Condition": {operator: {f"aws:{number}": "x" for number in range(6)}
                           for operator in ("StringEquals", "StringLike")}},
            "12 conditions were found in a statement from the submitted policy, max allowed is 10",
        ),
    ],
)  # fmt: skip
def test_quotas_are_counted_in_each_statement(changed: Json, text: str) -> None:
    with pytest.raises(SqsError) as refusal:
        canonical_policy(policy(statement(), statement(**changed)))
    assert (refusal.value.fault, refusal.value.message) == (errors.OVER_LIMIT, text)


STATEMENTS = st.builds(
    statement,
    Effect=st.sampled_from(["Allow", "Deny"]),
    Principal=st.sampled_from(["*", {"AWS": HERE}, {"AWS": [THERE]}, {"AWS": ["*", THERE]}]),
    Action=st.sampled_from(["*", ["sqs:SendMessage"], ["sqs:Get*", "sqs:Receive*"], "SQS:*"]),
    Resource=st.sampled_from(["*", [ARN], ["arn:aws:sqs:*:*:other", "x"]]),
    Condition=st.sampled_from([None, {}, {"Bool": {"aws:SecureTransport": ["false"]}}]),
)


@given(
    st.lists(STATEMENTS, min_size=1, max_size=5),
    st.sampled_from([Principal(HERE), Principal(THERE), Principal(THERE, "bob")]),
    st.sampled_from(["SendMessage", "ReceiveMessage", "DeleteQueue"]),
)
def test_the_form_of_the_answer_means_what_was_set(
    statements: list[Json], principal: Principal, action: str
) -> None:
    text = policy(*statements)
    context = Context("127.0.0.1", secure=False, wall_ms=0)
    before, after = (
        decide(principal, action, JOBS, ARN, parse_policy(written), context)
        for written in (text, canonical_policy(text))
    )
    assert before is after


def test_a_policy_that_could_not_be_enforced_is_not_stored() -> None:
    sqs = Sqs(Engine(entropy=bytes, policy_problems=lambda text: parse_policy(text).problems))
    sqs.create("jobs")
    text = policy(statement(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/33"}}))
    for request in (
        SetQueueAttributesRequest(queue_url=url_of("jobs"), attributes={"Policy": text}),
        CreateQueueRequest(queue_name="new", attributes={"Policy": text}),
    ):
        with pytest.raises(SqsError) as refusal:
            sqs.call(request)
        assert refusal.value.fault is errors.INVALID_ATTRIBUTE_VALUE
        assert refusal.value.message == "Invalid value for the parameter Policy."
        assert "cannot read the values of aws:SourceIp" in (refusal.value.log_detail or "")
    assert "Policy" not in sqs.attributes("jobs")
    sqs.create("open", {"Policy": policy(statement())})
