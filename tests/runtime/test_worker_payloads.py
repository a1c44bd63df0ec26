"""Which types a payload may have, and how it is read as each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pydantic.v1
import pytest
from pydantic.dataclasses import dataclass as pydantic_dataclass

from forebay.errors import SettingsError
from forebay.worker import Received, Reject, Router
from forebay.worker.payloads import PayloadError, payload_reader
from tests.runtime.worker_messages import envelope, lease


class Struct(msgspec.Struct):
    seat: int
    row: str = "A"


class Tree(msgspec.Struct):
    children: list[Tree] = []


@dataclass
class Dataclass:
    seat: int


class Dict(TypedDict):
    seat: int


class Tuple(NamedTuple):
    seat: int


class Color(Enum):
    RED = "red"


class Model(pydantic.BaseModel):
    seat: int = pydantic.Field(ge=1)
    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)


class Nested(pydantic.BaseModel):
    models: list[Model]


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    at: datetime


@pydantic_dataclass
class CheckedDataclass:
    seat: Annotated[int, pydantic.Field(ge=1)]


@pytest.mark.parametrize(
    ("payload_type", "payload", "expected"),
    [
        (Struct, '{"seat": 1}', Struct(1)),
        (Tree, '{"children": [{}]}', Tree([Tree()])),
        (Dataclass, '{"seat": 1}', Dataclass(1)),
        (Dict, '{"seat": 1}', {"seat": 1}),
        (Tuple, "[1]", Tuple(1)),
        (int, "1", 1),
        (str, '"text"', "text"),
        (bytes, '"AAE="', b"\x00\x01"),
        (dict, '{"seat": 1}', {"seat": 1}),
        (list[Struct], '[{"seat": 1}]', [Struct(1)]),
        (Struct | None, "null", None),
        (Any, '{"seat": [1]}', {"seat": [1]}),
        (object, '{"seat": [1]}', {"seat": [1]}),
        (Decimal, '"1.20"', Decimal("1.20")),
        (datetime, '"2026-01-01T00:00:00Z"', datetime(2026, 1, 1, tzinfo=UTC)),
        (UUID, f'"{UUID(int=1)}"', UUID(int=1)),
        (Color, '"red"', Color.RED),
        (Model, '{"seat": 1}', Model(seat=1)),
        (Model | None, "null", None),
        (list[Model], '[{"seat": 1}]', [Model(seat=1)]),
        (Nested, '{"models": [{"seat": 1}]}', Nested(models=[Model(seat=1)])),
        (Strict, '{"at": "2026-01-01T00:00:00Z"}', Strict(at=datetime(2026, 1, 1, tzinfo=UTC))),
        (CheckedDataclass, '{"seat": 1}', CheckedDataclass(1)),
    ],
    ids=str,
)
def test_a_payload_is_read_as_its_type(payload_type: Any, payload: str, expected: object) -> None:
    read = payload_reader(payload_type)
    assert read(payload) == expected
    assert read(msgspec.Raw(payload.encode())) == expected


@pytest.mark.parametrize("as_envelope", [False, True])
@pytest.mark.parametrize(
    ("payload_type", "payload", "reason"),
    [
        (Struct, {"seat": "x"}, r"does not fit Struct: Expected `int`, got `str` - at `\$.seat`"),
        (Dataclass, {}, "does not fit Dataclass: Object missing required field `seat`"),
        (Model, {"seat": 0}, "does not fit Model: .*greater than or equal to 1 - at `seat`"),
        (Nested, {"models": [{}]}, "does not fit Nested: Field required - at `models.0.seat`"),
        (CheckedDataclass, {"seat": 0}, "greater than or equal to 1"),
    ],
)
def test_a_payload_that_does_not_fit_is_rejected_with_the_place(
    as_envelope: bool, payload_type: Any, payload: dict[str, Any], reason: str
) -> None:
    router: Any = Router()

    async def take(received: Received[Any]) -> None: ...

    router.every(payload_type)(take)
    body = envelope("order", payload) if as_envelope else msgspec.json.encode(payload).decode()
    with pytest.raises(Reject, match=reason):
        router.route(lease(body=body))


def test_what_does_not_fit_a_model_is_not_repeated_in_the_reason() -> None:
    with pytest.raises(PayloadError) as raised:
        payload_reader(Model)('{"seat": "s3cret"}')
    assert "s3cret" not in str(raised.value)
    with pytest.raises(PayloadError, match="JSON"):
        payload_reader(Model)("{")


def test_a_type_whose_own_checks_fail_strangely_rejects_the_message() -> None:
    @dataclass
    class Picky:
        seat: int

        def __post_init__(self) -> None:
            raise KeyError(self.seat)

    router = Router()

    @router.raw(Picky)
    async def take(received: Received[Picky]) -> None: ...

    with pytest.raises(Reject, match=r"does not fit Picky: .*KeyError\(7\)"):
        router.route(lease(body='{"seat": 7}'))


class Plain:
    def __init__(self, seat: int) -> None: ...


class HasPlain(msgspec.Struct):
    parts: dict[str, list[Plain]]


class HasModel(msgspec.Struct):
    model: Model


class OldModel(pydantic.v1.BaseModel):
    seat: int


class ModelOfPlain(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    plain: Plain


@pytest.mark.parametrize(
    ("payload_type", "problem"),
    [
        (Plain, "Plain cannot be read from JSON, because of Plain. Use a msgspec struct"),
        (HasPlain, "HasPlain cannot be read from JSON, because of Plain"),
        (HasModel, "HasModel cannot be read by pydantic"),
        (OldModel, "OldModel cannot be read from JSON.* pydantic 2"),
        (Callable, "Callable"),
        (complex, "complex"),
        (type, "type"),
        (5, "5 cannot be read from JSON"),
        ("Order", "Order"),
        (Struct(1), "Struct"),
        (int | Plain, "cannot be read from JSON"),
    ],
)
def test_a_type_that_no_payload_could_have_is_refused_at_registration(
    payload_type: Any, problem: str
) -> None:
    with pytest.raises(SettingsError, match=problem):
        Router().handler("order", payload_type)


def test_pydantic_is_not_imported_for_other_types() -> None:
    program = """
import sys, msgspec
from forebay import Router
class Order(msgspec.Struct):
    seat: int
Router().raw(Order)
print("pydantic" in sys.modules)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "False\n"
