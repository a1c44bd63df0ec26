"""The consumer of document 001, as a process of a run."""

from __future__ import annotations

from collections.abc import Mapping

from forebay.lab.program import Program


async def consume(lab: Program, *, variables: Mapping[str, str]) -> None:
    """Consume as the variables say, and write down what is done."""
    raise NotImplementedError
