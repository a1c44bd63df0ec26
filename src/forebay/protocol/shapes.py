"""The members of requests and answers: their shapes, and their names in both protocols.

In the Query protocol a list or map has no name of its own: each item is written under a name in the
singular, so that `AttributeNames: [a, b]` is `AttributeName.1=a&AttributeName.2=b`. A map is a list
of pairs. Some SDKs and templates write the member's name instead, as `AttributeNames.1=a`, and AWS
reads that too.

Source: the model of SQS in botocore 1.31.80, the last that spoke this protocol:
https://github.com/boto/botocore/blob/1.31.80/botocore/data/sqs/2012-11-05/service-2.json
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias, cast

from msgspec import Struct, inspect

from forebay.protocol.actions import ACTIONS

#: What the items of a list or map are called where it is not the member's name less its plural s.
_ITEM_NAMES = {
    "Actions": "ActionName",
    "Entries": "{action}RequestEntry",
    "Failed": "BatchResultErrorEntry",
    "Results": "{action}ResultEntry",
    "Successful": "{action}ResultEntry",
    "queueUrls": "QueueUrl",
    "tags": "Tag",
}

#: What a map's keys are called, by the name of its items. All others are called Name.
_KEY_NAMES = {"Tag": "Key"}

#: What some write for any map's keys and values.
#: Source: https://smithy.io/2.0/aws/protocols/aws-query-protocol.html#map-serialization
_OTHER_KEY_NAMES = ("Key", "Name", "key")
_OTHER_VALUE_NAMES = ("value",)

_SCALARS: dict[type[inspect.Type], type[Any]] = {
    inspect.StrType: str,
    inspect.IntType: int,
    inspect.BoolType: bool,
    inspect.BytesType: bytes,
}


class Scalar(Struct, frozen=True):
    """One value."""

    type: type[Any]


class ListOf(Struct, frozen=True):
    """Values in order."""

    item: Shape


class MapOf(Struct, frozen=True):
    """A map from strings. `pair` is the shape of a `Pair`."""

    pair: Structure


class Structure(Struct, frozen=True):
    """A struct, or a `Pair`. `type` makes one from its attributes."""

    type: type[Any]
    members: tuple[Member, ...]


Shape: TypeAlias = Scalar | ListOf | MapOf | Structure


class Member(Struct, frozen=True):
    """A member of a structure: its attribute in Python, its names in AWS JSON and in Query."""

    attribute: str
    name: str
    query_name: str
    #: What else it may be called in a request of the Query protocol.
    other_query_names: tuple[str, ...]
    required: bool
    shape: Shape


class Pair(NamedTuple):
    """One item of a map."""

    key: str = ""
    value: Any = None


def _structure(info: inspect.StructType, action: str) -> Structure:
    return Structure(info.cls, tuple(_member(field, action) for field in info.fields))


def _member(field: inspect.Field, action: str) -> Member:
    name, info = field.encode_name, field.type
    if isinstance(info, inspect.UnionType):
        info = next(type_ for type_ in info.types if not isinstance(type_, inspect.NoneType))
    query_name = name
    others: set[str] = set()
    if isinstance(info, inspect.ListType | inspect.DictType):
        query_name = _ITEM_NAMES.get(name, name.removesuffix("s")).format(action=action)
        others = {name, name[0].upper() + name[1:]} - {query_name}
    shape = _shape(info, query_name, action)
    return Member(field.name, name, query_name, tuple(sorted(others)), field.required, shape)


def _shape(info: inspect.Type, query_name: str, action: str) -> Shape:
    match info:
        case inspect.ListType(item_type=item):
            return ListOf(_shape(item, query_name, action))
        case inspect.DictType(value_type=value):
            key_name = _KEY_NAMES.get(query_name, "Name")
            return MapOf(_pair(key_name, _shape(value, query_name, action)))
        case inspect.StructType():
            return _structure(info, action)
        case _:
            return Scalar(_SCALARS[type(info)])


def _pair(key_name: str, value: Shape) -> Structure:
    others = tuple(name for name in _OTHER_KEY_NAMES if name != key_name)
    # A message attribute without a name is refused in words of its own.
    has_members = isinstance(value, Structure)
    members = (
        Member("key", key_name, key_name, others, required=not has_members, shape=Scalar(str)),
        Member("value", "Value", "Value", _OTHER_VALUE_NAMES, required=True, shape=value),
    )
    return Structure(Pair, members)


def _structures(types: dict[str, type[Any]]) -> dict[str, Structure]:
    infos = inspect.multi_type_info(types.values())
    return {
        action: _structure(cast(inspect.StructType, info), action)
        for action, info in zip(types, infos, strict=True)
    }


#: The shape of each action's request, and of its result.
REQUESTS = _structures({name: action.request_type for name, action in ACTIONS.items()})
RESULTS = _structures({name: action.result_type for name, action in ACTIONS.items()})
