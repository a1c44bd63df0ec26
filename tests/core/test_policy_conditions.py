"""The operators that conditions compare with."""

from __future__ import annotations

import pytest

from forebay.broker.conditions import parse_condition

TOPIC = "arn:aws:sns:us-east-1:111111111111:orders"

#: Operator; values of the policy; what is known of the request; whether the condition holds.
TABLE: list[tuple[str, list[str], str | None, bool]] = [
    ("StringEquals", ["alice"], "alice", True),
    ("StringEquals", ["alice"], "Alice", False),
    ("StringEquals", ["bob", "alice"], "alice", True),
    ("StringEquals", ["al*"], "alice", False),
    ("StringEquals", ["alice"], None, False),
    ("StringNotEquals", ["alice"], "bob", True),
    ("StringNotEquals", ["bob", "alice"], "bob", False),
    ("StringNotEquals", ["alice"], None, True),
    ("StringEqualsIgnoreCase", ["ALICE"], "alice", True),
    ("StringNotEqualsIgnoreCase", ["ALICE"], "alice", False),
    ("StringLike", ["al*e"], "alice", True),
    ("StringLike", ["alic?"], "alice", True),
    ("StringLike", ["alice?"], "alice", False),
    ("StringLike", ["a.*"], "alice", False),
    ("StringNotLike", ["al*"], "alice", False),
    ("StringNotLike", ["al*"], None, True),
    ("ArnEquals", [TOPIC], TOPIC, True),
    ("ArnEquals", ["arn:aws:sns:*:*:order?"], TOPIC, True),
    ("ArnLike", ["arn:aws:sns:us-east-1:*:*"], TOPIC, True),
    ("ArnLike", ["arn:aws:sns:*"], TOPIC, True),
    ("ArnLike", ["arn:aws:*:orders"], TOPIC, False),
    ("ArnLike", ["arn:aws:sns:us-west-2:*:*"], TOPIC, False),
    ("ArnLike", ["orders"], TOPIC, False),
    ("ArnLike", ["arn:aws:sns:*:*:*"], "orders", False),
    ("ArnLike", ["arn:aws:sns:*:*:*"], None, False),
    ("ArnNotEquals", [TOPIC], TOPIC, False),
    ("ArnNotLike", ["arn:aws:sns:*:*:*"], None, True),
    ("Bool", ["true"], "true", True),
    ("Bool", ["False"], "false", True),
    ("Bool", ["true"], "false", False),
    ("Bool", ["true"], "perhaps", False),
    ("IpAddress", ["10.0.0.0/8"], "10.255.0.1", True),
    ("IpAddress", ["10.0.0.1"], "10.0.0.1", True),
    ("IpAddress", ["10.0.0.1/8"], "10.9.9.9", True),
    ("IpAddress", ["10.0.0.0/8", "::1"], "::1", True),
    ("IpAddress", ["10.0.0.0/8"], "::ffff:10.0.0.1", True),
    ("IpAddress", ["2001:db8::/32"], "2001:db8::7", True),
    ("IpAddress", ["10.0.0.0/8"], "11.0.0.1", False),
    ("IpAddress", ["10.0.0.0/8"], "a socket", False),
    ("IpAddress", ["0.0.0.0/0"], None, False),
    ("NotIpAddress", ["10.0.0.0/8"], "10.0.0.1", False),
    ("NotIpAddress", ["10.0.0.0/8"], "11.0.0.1", True),
    ("NotIpAddress", ["10.0.0.0/8"], None, True),
    ("DateLessThan", ["2026-03-02T00:00:00Z"], "2026-03-01T12:00:00+00:00", True),
    ("DateLessThan", ["2026-03-01T12:00:00Z"], "2026-03-01T12:00:00+00:00", False),
    ("DateLessThanEquals", ["2026-03-01T12:00:00Z"], "2026-03-01T12:00:00+00:00", True),
    ("DateLessThan", ["2026-03-02"], "2026-03-01T12:00:00+00:00", True),
    ("DateGreaterThan", ["2026-03-01T13:00:00+02:00"], "2026-03-01T12:00:00+00:00", True),
    ("DateGreaterThan", ["1772366399"], "2026-03-01T12:00:00+00:00", True),
    ("DateGreaterThanEquals", ["1772366400"], "1772366400", True),
    ("DateEquals", ["2026-03-01T12:00:00Z"], "1772366400", True),
    ("DateNotEquals", ["2026-03-01T12:00:00Z"], "1772366400", False),
    ("DateLessThan", ["2026-03-02"], "today", False),
    ("NumericLessThan", ["10"], "9.5", True),
    ("NumericGreaterThanEquals", ["10"], "9.5", False),
    ("NumericNotEquals", ["10"], "11", True),
    ("Null", ["true"], None, True),
    ("Null", ["true"], "x", False),
    ("Null", ["false"], None, False),
    ("Null", ["false"], "x", True),
    ("StringEqualsIfExists", ["alice"], None, True),
    ("StringEqualsIfExists", ["alice"], "bob", False),
    ("ForAnyValue:StringLike", ["al*"], "alice", True),
    ("ForAnyValue:StringLike", ["al*"], None, False),
    ("ForAnyValue:StringNotLike", ["al*"], None, False),
    ("ForAllValues:StringLike", ["al*"], "bob", False),
    ("ForAllValues:StringLike", ["al*"], None, True),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "values", "known", "holds"), TABLE)
def test_a_condition_holds(
    operator: str, values: list[str], known: str | None, holds: bool
) -> None:
    assert parse_condition(operator, "aws:Key", values).holds(known) is holds


@pytest.mark.parametrize(
    ("operator", "values"),
    [
        ("Equals", ["x"]),
        ("stringequals", ["x"]),
        ("NullIfExists", ["true"]),
        ("BinaryEquals", ["eA=="]),
        ("Bool", ["yes"]),
        ("Null", ["perhaps"]),
        ("IpAddress", ["10.0.0.0/33"]),
        ("DateLessThan", ["tomorrow"]),
        ("DateLessThan", ["1.2.3"]),
        ("NumericEquals", ["ten"]),
        ("StringEquals", []),
    ],
)
def test_what_iam_does_not_know_is_refused(operator: str, values: list[str]) -> None:
    with pytest.raises(ValueError, match=r"operator|value|neither"):
        parse_condition(operator, "aws:Key", values)


def test_keys_are_not_case_sensitive() -> None:
    assert parse_condition("Null", "AWS:SourceIP", ["true"]).key == "aws:sourceip"
