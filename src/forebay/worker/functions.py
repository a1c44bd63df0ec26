"""Which functions can be handlers, and how they are called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from forebay.errors import SettingsError


def check_handler(name: str, function: Callable[[Any], Any]) -> None:
    """Raises SettingsError when the function could not be called as a handler."""
    if not callable(function):
        raise SettingsError(f"The handler of {name!r} is not a function but {function!r}.")
    called = innermost(function)
    if isinstance(called, type):
        raise SettingsError(
            f"The handler of {name!r} is the class {called.__name__}, so a call handles nothing."
            " Register an object of it."
        )
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise SettingsError(f"The handler of {name!r} has a yield, so calling it does nothing.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise SettingsError(
            f"The handler of {name!r} must take one argument, what was received; its arguments are"
            f" {signature}. Register a method of an object, not of its class."
        ) from error


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives something to await."""
    called = innermost(function)
    return inspect.iscoroutinefunction(called) or inspect.iscoroutinefunction(
        getattr(called, "__call__", None)  # noqa: B004
    )


def innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function in partials and static methods."""
    while isinstance(function, functools.partial | staticmethod):
        function = function.func if isinstance(function, functools.partial) else function.__func__
    return function
