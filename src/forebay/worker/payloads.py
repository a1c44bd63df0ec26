"""Reading a payload as the type that a handler is registered for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from msgspec import MsgspecError, Raw
from msgspec.inspect import CustomType, DataclassType, Field, Type, type_info
from msgspec.json import Decoder

from forebay.errors import ForebayError, SettingsError

#: Makes a payload of its JSON. Raises an exception that says what does not fit.
PayloadReader: TypeAlias = Callable[[str | Raw], Any]

#: What msgspec makes of JSON where no type is asked for. A class that one of them is an instance of
#: is a type that it can read.
_NATIVE = (dict, list, str, int, float, bool, type(None))

_KINDS = "Use a msgspec struct, a dataclass, a TypedDict, a plain type or a pydantic 2 model."


class PayloadError(ForebayError):
    """The payload is not of the type that its handler is registered for."""


def payload_reader(payload_type: Any) -> PayloadReader:
    """What reads payloads as this type.

    Raises SettingsError when no JSON could ever be read as it. Pydantic is imported only for a type
    that is made of its models.
    """
    if not reads_natively(payload_type):
        return _pydantic_reader(payload_type)
    return Decoder(payload_type).decode


def reads_natively(payload_type: Any) -> bool:
    """Whether msgspec reads the type; otherwise pydantic does. Raises SettingsError if neither."""
    name = type_name(payload_type)
    try:
        strangers = {info.cls for info in _parts(type_info(payload_type)) if _is_strange(info)}
        if any(hasattr(stranger, "__pydantic_validator__") for stranger in strangers):
            return False
        if strangers:
            names = ", ".join(sorted(type_name(stranger) for stranger in strangers))
            raise SettingsError(f"{name} cannot be read from JSON, because of {names}. {_KINDS}")
        Decoder(payload_type)
    except (TypeError, NameError, ValueError) as error:
        raise SettingsError(f"{name} cannot be read from JSON: {error}. {_KINDS}") from error
    return True


def why_not(error: Exception) -> str:
    """Why a payload does not fit its type, of what reading it raised."""
    return str(error) if isinstance(error, MsgspecError | PayloadError) else repr(error)


def type_name(payload_type: Any) -> str:
    return getattr(payload_type, "__name__", None) or str(payload_type)


def _pydantic_reader(payload_type: Any) -> PayloadReader:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - an optional dependency
    from pydantic.errors import PydanticUserError  # noqa: PLC0415

    try:
        validate = TypeAdapter(payload_type).validate_json
    except PydanticUserError as error:
        raise SettingsError(
            f"{type_name(payload_type)} cannot be read by pydantic: {error.message}"
        ) from error

    def read(payload: str | Raw) -> Any:
        try:
            return validate(payload if isinstance(payload, str) else bytes(payload))
        except ValidationError as error:
            # Its own text repeats the payload, which may hold what no log should.
            raise PayloadError(
                "; ".join(
                    f"{each['msg']} - at `{'.'.join(map(str, each['loc']))}`"
                    for each in error.errors(include_input=False, include_url=False)
                )
            ) from None

    return read


def _is_strange(info: Type) -> bool:
    """Whether msgspec cannot make it, or would pass by the validators of a pydantic dataclass."""
    if isinstance(info, DataclassType):
        return hasattr(info.cls, "__pydantic_validator__")
    return isinstance(info, CustomType) and not any(
        issubclass(native, info.cls) for native in _NATIVE
    )


def _parts(info: Type) -> Iterator[Any]:
    """A type and every type in it, each once: a type may have itself among its parts."""
    seen: set[int] = set()
    rest: list[Any] = [info]
    while rest:
        part = rest.pop()
        if isinstance(part, tuple):
            rest.extend(part)
        elif isinstance(part, Field):
            rest.append(part.type)
        elif isinstance(part, Type) and id(part) not in seen:
            seen.add(id(part))
            yield part
            rest.extend(getattr(part, name) for name in part.__struct_fields__)
