"""Profiles: values that belong together, in TOML files that inherit from each other.

description = "Why these values."
inherits = "production"

[parameters]
sqs_flush_ms = 50
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.parameters.schema import BadValue, Schema, UnknownParameter, Value

#: What a profile's file says.
_KEYS = ("description", "inherits", "parameters")

#: What a profile may be called: the name of its file without `.toml`.
_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class ProfileError(SettingsError):
    """A profile cannot be used."""


class Profile(Struct, frozen=True, kw_only=True):
    """One profile, as its file says it."""

    name: str
    description: str
    inherits: str | None
    #: Its own values alone.
    parameters: dict[str, Value]
    #: The file, for people, and where it names what it inherits from.
    file: str
    inherits_at: str


class Profiles:
    """All profiles there are, each of which can be resolved."""

    def __init__(self, profiles: Mapping[str, Profile]) -> None:
        self._by_name = dict(profiles)

    def __iter__(self) -> Iterator[Profile]:
        return iter(sorted(self._by_name.values(), key=lambda profile: profile.name))

    def __getitem__(self, name: str) -> Profile:
        """The profile of this name. Raises ProfileError, with the nearest name."""
        try:
            return self._by_name[name]
        except KeyError:
            raise ProfileError(f"There is no profile {name!r}. {self._advice(name)}") from None

    def line(self, name: str) -> list[Profile]:
        """A profile and those that it inherits from, the farthest first.

        Raises ProfileError for one that is not there, and for one that inherits from itself.
        """
        line = [self[name]]
        while (parent := line[-1].inherits) is not None:
            heir = line[-1]
            if parent not in self._by_name:
                raise ProfileError(
                    f"{heir.inherits_at}: there is no profile {parent!r}. {self._advice(parent)}"
                )
            names = [profile.name for profile in line]
            if parent in names:
                circle = " → ".join([*names[names.index(parent) :], parent])
                raise ProfileError(f"{heir.inherits_at}: {parent} inherits from itself: {circle}.")
            line.append(self._by_name[parent])
        return line[::-1]

    def resolved(self, name: str) -> dict[str, Value]:
        """All values of a profile, those that it inherits among them, by name.

        Raises ProfileError.
        """
        return {
            parameter: value
            for profile in self.line(name)
            for parameter, value in sorted(profile.parameters.items())
        }

    def origins(self, name: str) -> dict[str, str]:
        """Which profile each value of a profile is from. Raises ProfileError."""
        return {
            parameter: profile.name
            for profile in self.line(name)
            for parameter in profile.parameters
        }

    def _advice(self, name: str) -> str:
        near = get_close_matches(name, self._by_name, n=1)
        if near:
            return f"Did you mean {near[0]}?"
        return f"There are {', '.join(sorted(self._by_name))}."


def load_profiles(schema: Schema, directories: Sequence[Path] = ()) -> Profiles:
    """The profiles that come with Forebay, and those of directories.

    One of a directory takes the place of one of the same name before it. Raises ProfileError, which
    names the file and the place, for a file that is wrong, also when nobody asked for that profile.
    """
    profiles: dict[str, Profile] = {}
    shipped = files("forebay.parameters") / "shipped"
    for resource in shipped.iterdir():
        if resource.name.endswith(".toml"):
            profile = _read(schema, resource.name, resource.name, resource.read_text("utf-8"))
            profiles[profile.name] = profile
    for directory in directories:
        if not directory.is_dir():
            raise ProfileError(f"{directory} is no directory of profiles.")
        for path in sorted(directory.glob("*.toml")):
            try:
                text = path.read_text("utf-8")
            except OSError as error:
                raise ProfileError(f"{path} cannot be read: {error.strerror}.") from error
            except UnicodeDecodeError as error:
                raise ProfileError(f"{path} is not text in UTF-8.") from error
            profile = _read(schema, path.name, str(path), text)
            profiles[profile.name] = profile
    found = Profiles(profiles)
    for profile in found:
        try:
            values = found.resolved(profile.name)
            schema.check_together(values, values)
        except BadValue as error:
            raise ProfileError(f"{profile.file}: with what it inherits, {error}") from error
    return found


def _read(schema: Schema, file_name: str, file: str, text: str) -> Profile:
    name = file_name.removesuffix(".toml")
    if not _NAME.fullmatch(name):
        raise ProfileError(
            f"{file}: a profile has the name of its file, and {name!r} is none: letters, digits,"
            " - and _."
        )
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{file} is not TOML: {error}.") from error
    for key in document:
        if key not in _KEYS:
            near = get_close_matches(key, _KEYS, n=1) or (
                ["parameters"] if key in schema or schema.meant(key) else []
            )
            advice = (
                f"Parameters are in the table [{near[0]}]."
                if near == ["parameters"]
                else f"Did you mean {near[0]}?"
                if near
                else f"There are {', '.join(_KEYS)}."
            )
            raise ProfileError(f"{_place(file, key, text)}: a profile has no {key}. {advice}")
    description, inherits = document.get("description"), document.get("inherits")
    if not isinstance(description, str) or not description.strip():
        raise ProfileError(
            f"{_place(file, 'description', text)}: a profile says what it is for, in its"
            " description."
        )
    if inherits is not None and not isinstance(inherits, str):
        raise ProfileError(
            f"{_place(file, 'inherits', text)}: inherits must be the name of one profile."
        )
    given = document.get("parameters")
    if not isinstance(given, dict) or not given:
        raise ProfileError(
            f"{_place(file, 'parameters', text)}: a profile sets something, in its table"
            " [parameters]."
        )
    values: dict[str, Value] = {}
    for key, value in given.items():
        try:
            values[key] = schema[key].read(value)
        except (BadValue, UnknownParameter) as error:
            raise ProfileError(f"{_place(file, key, text)}: {error}") from error
    return Profile(
        name=name,
        description=" ".join(description.split()),
        inherits=inherits,
        parameters=values,
        file=file,
        inherits_at=_place(file, "inherits", text),
    )


def _place(file: str, key: str, text: str) -> str:
    """The file, and the line that sets a key where one can be found."""
    for number, line in enumerate(text.splitlines(), start=1):
        if re.match(rf"""\s*\[?\s*["']?{re.escape(key)}["']?\s*[\].=]""", line):
            return f"{file}, line {number}"
    return file
