"""The actions, members and errors are those of botocore's own model of SQS: none is misspelt."""

from __future__ import annotations

from typing import Any

import botocore.session
import msgspec
import pytest

from forebay.protocol.actions import ACTIONS
from forebay.protocol.errors import FAULTS

MODEL: Any = botocore.session.get_session().get_service_model("sqs")


def struct_of(type_: msgspec.inspect.Type) -> msgspec.inspect.StructType | None:
    """The struct that a member is, or is a list or map of."""
    match type_:
        case msgspec.inspect.StructType():
            return type_
        case msgspec.inspect.ListType(item_type=inner) | msgspec.inspect.DictType(value_type=inner):
            return struct_of(inner)
        case msgspec.inspect.UnionType(types=types):
            return next((found for part in types if (found := struct_of(part))), None)
        case _:
            return None


def assert_same_members(ours: msgspec.inspect.Type, shape: Any) -> None:
    struct = struct_of(ours)
    if shape.type_name == "list":
        assert_same_members(ours, shape.member)
    elif shape.type_name == "map":
        assert_same_members(ours, shape.value)
    elif shape.type_name == "structure":
        assert struct is not None, shape.name
        fields = {field.encode_name: field for field in struct.fields}
        assert set(fields) == set(shape.members), shape.name
        for name, field in fields.items():
            assert_same_members(field.type, shape.members[name])


@pytest.mark.parametrize("name", sorted(MODEL.operation_names))
def test_every_action_has_the_members_of_the_model(name: str) -> None:
    operation = MODEL.operation_model(name)
    action = ACTIONS[name]
    assert_same_members(msgspec.inspect.type_info(action.request_type), operation.input_shape)
    result = msgspec.inspect.type_info(action.result_type)
    if operation.output_shape is None:
        assert isinstance(result, msgspec.inspect.StructType)
        assert result.fields == ()
    else:
        assert_same_members(result, operation.output_shape)


@pytest.mark.parametrize("name", sorted(MODEL.operation_names))
def test_the_required_members_are_those_of_the_model(name: str) -> None:
    info = msgspec.inspect.type_info(ACTIONS[name].request_type)
    assert isinstance(info, msgspec.inspect.StructType)
    required = {field.encode_name for field in info.fields if field.required}
    assert required == set(MODEL.operation_model(name).input_shape.required_members)


def test_no_action_is_made_up() -> None:
    assert set(ACTIONS) == set(MODEL.operation_names)


@pytest.mark.parametrize("name", sorted({shape.name for shape in MODEL.error_shapes}))
def test_every_error_of_the_model_is_in_the_table(name: str) -> None:
    assert name in FAULTS
