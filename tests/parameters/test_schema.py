"""Which values parameters take, and what an error says."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from forebay.errors import SettingsError
from forebay.parameters import BadValue, InOrder, Parameter, Schema, UnknownParameter
from forebay.producer import settings as producer_settings
from forebay.producer.settings import ProducerSettings
from forebay.tunables import SCHEMA
from forebay.worker import settings as worker_settings
from forebay.worker.settings import ADJUSTABLE, WorkerSettings


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("sqs_flush_ms", "0", "sqs_flush_ms is 0; it must be 1 to 60,000 ms."),
        ("sqs_flush_ms", "-5", "sqs_flush_ms is -5; it must be 1 to 60,000 ms."),
        ("sqs_flush_ms", 60_001, "sqs_flush_ms is 60001; it must be 1 to 60,000 ms."),
        ("sqs_flush_ms", "50.5", "is 50.5; it must be a whole number, 1 to 60,000 ms."),
        ("sqs_flush_ms", 50.0, "is 50.0; it must be a whole number"),
        ("sqs_flush_ms", "soon", "is 'soon'; it must be a whole number"),
        ("sqs_flush_ms", "", "is ''; it must be a whole number"),
        ("sqs_flush_ms", True, "is True; it must be a whole number"),
        ("sqs_flush_ms", None, "is None; it must be a whole number"),
        ("sqs_flush_ms", "9" * 5000, "must be"),
        ("sqs_batch_size", "11", "sqs_batch_size is 11; it must be 1 to 10 messages."),
        ("sqs_buffer_size", "0", "it must be 1 to 100,000,000 messages."),
        ("sqs_timeout_ms", "0", "it must be 1 to 600,000 ms."),
        ("sqs_replay_share", "nan", "sqs_replay_share is nan; it must be 0.01 to 1."),
        ("sqs_replay_share", "inf", "it must be 0.01 to 1."),
        ("sqs_replay_share", "1.5", "it must be 0.01 to 1."),
        ("sqs_when_full", "wait", "is 'wait'; it must be one of drop, block, spill."),
        ("worker_concurrency", "0", "it must be 1 to 100,000 handlers."),
    ],
)
def test_a_bad_value_is_refused_with_name_range_and_unit(
    name: str, given: object, said: str
) -> None:
    with pytest.raises(BadValue) as refused:
        SCHEMA[name].read(given)
    assert name in f"{refused.value}"
    assert said in f"{refused.value}"
    assert len(f"{refused.value}") < 200


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("sqs_flush_ms", "50", 50),
        ("sqs_flush_ms", " 50\n", 50),
        ("sqs_flush_ms", "50_000", 50_000),
        ("sqs_replay_share", "1", 1),
        ("sqs_replay_share", 0.5, 0.5),
        ("sqs_when_full", "block", "block"),
    ],
)
def test_a_good_value_is_read(name: str, given: object, value: object) -> None:
    assert SCHEMA[name].read(given) == value


def test_an_unknown_name_suggests_the_near_one() -> None:
    with pytest.raises(
        UnknownParameter, match=r"no parameter sqs_flushms\. Did you mean sqs_flush_ms"
    ):
        SCHEMA["sqs_flushms"]
    with pytest.raises(UnknownParameter, match="There are sqs_batch_size, "):
        SCHEMA["kwyjibo"]


def test_ranges_and_defaults_are_those_of_the_settings() -> None:
    for parameter in SCHEMA:
        prefix, _, name = parameter.name.partition("_")
        settings, ranges = (
            (ProducerSettings(), producer_settings.RANGES)
            if prefix == "sqs"
            else (WorkerSettings(), worker_settings.RANGES)
        )
        assert getattr(settings, name) == parameter.default
        if parameter.choices:
            for word in parameter.choices:
                replace(settings, **{name: word})
            continue
        assert ranges[name] == (parameter.least, parameter.most)
        for value in (parameter.least, parameter.most):
            # One alone may break a rule between two.
            if name not in ("concurrency", "concurrency_min", "pollers_min"):
                replace(settings, **{name: value})
        for value in (parameter.least - 1, parameter.most + 1):
            with pytest.raises(SettingsError):
                replace(settings, **{name: value})


def test_what_a_worker_can_change_at_work_and_the_document_s_four_are_parameters() -> None:
    names = {parameter.name for parameter in SCHEMA}
    assert {f"worker_{name}" for name in ADJUSTABLE} < names
    document = {"sqs_batch_size": 10, "sqs_flush_ms": 100}
    document |= {"sqs_buffer_size": 50_000, "sqs_timeout_ms": 3_000}
    assert {name: SCHEMA[name].default for name in document} == document
    # All of a producer's but what it reads when it starts.
    assert {f"sqs_{name}" for name in ProducerSettings.__struct_fields__} == {
        name for name in names if name.startswith("sqs_")
    }
    assert all(parameter.meaning.endswith(".") for parameter in SCHEMA)


@pytest.mark.parametrize(
    ("stored", "latest", "accepted", "refused"),
    [
        ({"a": "5", "b": "7"}, {}, {"a": 5, "b": 7}, []),
        ({"a": "0", "b": "7"}, {}, {"b": 7}, ["a"]),
        ({"a": "0", "b": "7"}, {"a": 3}, {"a": 3, "b": 7}, ["a"]),
        ({"a": "8", "b": "7", "c": "9"}, {}, {"c": 9}, ["a", "b"]),
        ({"a": "8", "b": "7"}, {"a": 5, "b": 7}, {"a": 5, "b": 7}, ["a"]),
        ({"a": "5", "b": "4"}, {"a": 5, "b": 7}, {"a": 5, "b": 7}, ["b"]),
        ({"a": "8", "b": "7"}, {"a": 1, "b": 2}, {"a": 1, "b": 2}, ["a", "b"]),
        # By default b is 10.
        ({"a": "11"}, {}, {}, ["a"]),
        ({"a": "11"}, {"a": 11, "b": 12}, {"a": 11, "b": 12}, ["b"]),
        ({"other": "x"}, {}, {}, []),
        ({}, {"a": 5}, {}, []),
    ],
)
def test_what_takes_effect_of_a_table(
    stored: dict[str, str], latest: dict[str, int], accepted: dict[str, int], refused: list[str]
) -> None:
    numbers = [
        Parameter(name=name, default=default, meaning="", least=1, most=20)
        for name, default in {"a": 1, "b": 10, "c": 10}.items()
    ]
    schema = Schema(numbers, [InOrder("a", "b")])
    values, why = schema.accept(stored, latest)
    assert values == accepted
    assert sorted(why) == refused
    schema.check_together(values, ["a", "b", "c"])
