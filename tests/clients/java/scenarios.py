"""Scenarios of Java clients: a class each, in the package of its client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.clients.environments import java_environment
from tests.clients.peers import answer_of, configuration

Play = Callable[[str], Any]


def playing(package: str, endpoint_url: str) -> Play:
    """What a scenario of this package prints."""
    java = java_environment("java")
    return lambda name: answer_of(
        *java, f"{package}.{name}", environment=configuration(endpoint_url)
    )
