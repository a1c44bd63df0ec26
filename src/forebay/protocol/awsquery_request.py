"""Requests of the Query protocol: a form or a query string in, a request struct out.

The name `Tag.1.Key` is a path, so the parameters make a tree; a reader that is made once for each
action turns the tree into the action's struct.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import a2b_qp
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeAlias, cast

from forebay.protocol.actions import ACTION_OF, AnyRequest
from forebay.protocol.errors import (
    MALFORMED_INPUT,
    MALFORMED_QUERY_STRING,
    SqsError,
    missing_parameter,
)
from forebay.protocol.integers import read_integer
from forebay.protocol.shapes import (
    REQUESTS,
    ListOf,
    MapOf,
    Member,
    Pair,
    Scalar,
    Shape,
    Structure,
)

#: A parameter's value, or the parameters whose names continue after a dot.
Node: TypeAlias = "str | dict[str, Node]"
Parameters: TypeAlias = dict[str, Node]

#: Makes a value of a node. The second argument is the node's name in full, for errors.
_Reader: TypeAlias = Callable[[Node, str], Any]

#: Most parameters in one request. A full batch with ten attributes on each message has some 400.
PARAMETERS_MAX = 10_000

#: Most dots in a name that are told apart. SQS's longest name has six of them
#: (`SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.StringListValue.1`), and each of its
#: three lists may add a `member`.
_NAME_DOTS_MAX = 9

#: How much of a bad value is quoted in the error, in characters.
_QUOTED_CHARACTERS_MAX = 50

_QUOTED_PRINTABLE = bytes.maketrans(b"%+", b"= ")
_LITERALS = ((b"=", b"%3D"), (b"\r", b"%0D"), (b"\n", b"%0A"))

#: What may stand between the name of a list or map and the number of an item.
#: Source: https://smithy.io/2.0/aws/protocols/aws-query-protocol.html#collections
_ITEM_WORDS = frozenset({"member", "entry"})

_INDEX = re.compile(r"[0-9]{1,18}")


def read_parameters(*forms: bytes) -> Parameters:
    """The parameters of URL-encoded forms.

    Raises SqsError: MalformedQueryString for a form that is not URL-encoded UTF-8, MalformedInput
    for too many parameters, for a name that comes with two values, and for one that has both a
    value and names below it.
    """
    if sum(form.count(b"&") for form in forms) > PARAMETERS_MAX:
        raise _malformed(f"A request has at most {PARAMETERS_MAX} parameters.")
    parameters: Parameters = {}
    for form in forms:
        for pair in form.split(b"&"):
            if pair:
                name, _, value = pair.partition(b"=")
                _put(parameters, _unquote(name), _unquote(value))
    return parameters


def decode_request(action: str, parameters: Parameters) -> AnyRequest:
    """What the parameters ask of an action.

    Parameters without a dot that the action does not have are ignored, as AWS does with them: they
    are the protocol's own, or a presigned URL's. One with a dot is an item or a member of something
    and would be lost, as would one that differs from a member's name in its case: both are refused.

    Raises SqsError: MissingParameter, with the name in full (`Attribute.1.Value`), and
    MalformedInput for a parameter of another form.
    """
    names, lower_names = _names[action]
    for name, node in parameters.items():
        if name not in names and (isinstance(node, dict) or name.lower() in lower_names):
            raise _unknown(name)
    return cast(AnyRequest, _readers[action](parameters, ""))


def _unquote(quoted: bytes) -> str:
    """The text of a URL-encoded name or value.

    Quoted-printable is the same code with another sign, and the standard library reads it in C,
    some twenty times as fast as `urllib`. Line ends have a meaning of their own there, so they are
    escaped; an escape that is broken shows in the length.
    """
    for literal, escape in _LITERALS:
        quoted = quoted.replace(literal, escape)
    text = a2b_qp(quoted.translate(_QUOTED_PRINTABLE))
    if len(text) != len(quoted) - 2 * quoted.count(b"%"):
        raise SqsError(MALFORMED_QUERY_STRING, "A % in the parameters has no two hex digits.")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise SqsError(MALFORMED_QUERY_STRING, "The parameters are not UTF-8.") from error


def _put(parameters: Parameters, name: str, value: str) -> None:
    *parents, last = name.split(".", _NAME_DOTS_MAX)
    for parent in parents:
        child = parameters.setdefault(parent, {})
        if isinstance(child, str):
            raise _conflict(name)
        parameters = child
    known = parameters.setdefault(last, value)
    if isinstance(known, dict):
        raise _conflict(name)
    if known != value:
        raise _malformed(f"The query parameter {name} has two values.")


def _reader(shape: Shape) -> _Reader:
    match shape:
        case Scalar(type=type_):
            return _SCALAR_READERS[type_]
        case ListOf(item=item):
            read_item = _reader(item)
            return lambda node, name: [read_item(*item) for item in _items(node, name)]
        case MapOf(pair=pair):
            read_pair = _reader(pair)
            return lambda node, name: _map([read_pair(*item) for item in _items(node, name)], name)
        case Structure():
            return _structure_reader(shape)


def _structure_reader(shape: Structure) -> _Reader:
    make = shape.type
    members = [
        (member.attribute, _reader(member.shape), _when_missing(make, member))
        for member in shape.members
    ]
    places = {
        query_name: place
        for place, member in enumerate(shape.members)
        for query_name in (member.query_name, *member.other_query_names)
    }

    def read(node: Node, name: str) -> object:
        if isinstance(node, str):
            raise _malformed(f"{name} has members and takes no value itself.")
        prefix = f"{name}." if name else ""
        found = {}
        for query_name, value in node.items():
            place = places.get(query_name)
            if place is None:
                if prefix:
                    raise _unknown(prefix + query_name)
                continue
            attribute, read_member, _ = members[place]
            if attribute in found:
                raise _conflict(prefix + query_name)
            found[attribute] = read_member(value, prefix + query_name)
        for attribute, _, when_missing in members:
            if when_missing is not None and attribute not in found:
                found[attribute] = when_missing(prefix)
        return make(**found)

    return read


def _when_missing(owner: type[Any], member: Member) -> Callable[[str], object] | None:
    """What a member becomes that is not there; None when it need not be there."""
    if not member.required:
        return None
    if isinstance(member.shape, ListOf) and isinstance(member.shape.item, Structure):
        # Most SDKs can write an empty batch only by leaving it out, and it has an error of its own.
        return lambda _: []

    action = ACTION_OF[owner].name if owner in ACTION_OF else None
    name = member.query_name
    if isinstance(member.shape, MapOf):
        # SQS asks for `Attribute.Name`, not for `Attribute`.
        name = f"{name}.{member.shape.pair.members[0].query_name}"

    def refuse(prefix: str) -> NoReturn:
        raise missing_parameter(action, prefix + name)

    return refuse


def _items(node: Node, name: str) -> Iterator[tuple[Node, str]]:
    """The items of a list or map in the order of their numbers, each with its name in full.

    Numbers may be left out. A single item may go without one: AWS's documentation writes
    `AttributeName=All` and `Tag.Key=QueueType&Tag.Value=Production`. An empty value is how SDKs
    write that there is no item: `AttributeName=`.
    """
    if isinstance(node, dict) and len(node) == 1:
        [(word, inner)] = node.items()
        node = inner if word in _ITEM_WORDS else node
    if node == "":
        return iter(())
    numbers = [] if isinstance(node, str) else [key for key in node if _INDEX.fullmatch(key)]
    if isinstance(node, str) or not numbers:
        return iter([(node, name)])
    if len(numbers) != len(node):
        raise _conflict(name)
    for number in numbers:
        if int(number) == 0:
            # Source: an answer of SQS in https://github.com/rusoto/rusoto/issues/324
            raise _malformed(f"{number} is not a valid index")
    return ((node[number], f"{name}.{number}") for number in sorted(numbers, key=int))


def _map(pairs: list[Pair], name: str) -> dict[str, Any]:
    items = dict(pairs)
    if len(items) != len(pairs):
        raise _malformed(f"{name} holds a key twice.")
    return items


def _text(node: Node, name: str) -> str:
    if isinstance(node, str):
        return node
    kind = "list" if all(map(_INDEX.fullmatch, node)) else "structure or map"
    raise _malformed(f"Start of {kind} found where not expected: {name}.")


def _integer(node: Node, name: str) -> int:
    text = _text(node, name)
    try:
        return read_integer(text)
    except ValueError as error:
        raise _malformed(
            f"Value {text[:_QUOTED_CHARACTERS_MAX]} for parameter {name} is invalid."
            " Reason: Must be an integer."
        ) from error


def _binary(node: Node, name: str) -> bytes:
    try:
        return b64decode(_text(node, name), validate=True)
    except ValueError as error:
        raise _malformed(f"{name} must be in base64: {error}.") from error


def _malformed(message: str) -> SqsError:
    return SqsError(MALFORMED_INPUT, message)


def _unknown(name: str) -> SqsError:
    return _malformed(f"The query parameter {name} is not one of the action's.")


def _conflict(name: str) -> SqsError:
    return _malformed(
        f"The query parameter {name} is invalid."
        " Its structure conflicts with that of another parameter."
    )


_SCALAR_READERS: dict[type[Any], _Reader] = {str: _text, int: _integer, bytes: _binary}

_readers = {action: _reader(shape) for action, shape in REQUESTS.items()}


def _names_of(shape: Structure) -> tuple[frozenset[str], frozenset[str]]:
    """The names of a structure's members as they are, and in lower case."""
    names = {
        query_name
        for member in shape.members
        for query_name in (member.query_name, *member.other_query_names)
    }
    return frozenset(names), frozenset(name.lower() for name in names)


_names = {action: _names_of(shape) for action, shape in REQUESTS.items()}
