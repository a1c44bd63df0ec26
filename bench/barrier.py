"""Lets processes begin at the same moment, once all of them are ready."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from bench import processes

T = TypeVar("T")

#: How long from the word to the beginning, so that it reaches everybody before, in seconds.
_NOTICE_S = 0.2

#: How long processes may take to be ready, in seconds.
_PATIENCE_S = 60

_LOOK_S = 0.01

_BEGIN = "begin"


class Waiting(Struct, kw_only=True):
    """What a question has that is asked of several processes at once."""

    #: Where they say that they are ready, and who of them this one is.
    barrier: str = ""
    place: int = 0

    def wait(self) -> float:
        """Say that this process is ready, and wait; returns when it begins, by time.monotonic()."""
        barrier = Path(self.barrier)
        (barrier / f"ready-{self.place}").touch()
        begin = barrier / _BEGIN
        while not begin.exists():
            time.sleep(_LOOK_S)
        begin_s = float(begin.read_text())
        time.sleep(max(0.0, begin_s - time.monotonic()))
        return begin_s


def ask_together(
    module: str, questions: Sequence[Waiting], kind: type[T], patience_s: float
) -> tuple[float, list[Future[T]]]:
    """Run `module` once for each question; returns when they begin, and what they will answer.

    Raises RuntimeError when they are not all ready in time, or when one of them fails before.
    """
    directory = Path(tempfile.mkdtemp(prefix="forebay-bench-"))
    pool = ThreadPoolExecutor(len(questions))
    futures = []
    for place, question in enumerate(questions):
        question.barrier, question.place = str(directory), place
        futures.append(pool.submit(processes.answer_of, module, question, kind, patience_s))
    pool.shutdown(wait=False)
    deadline_s = time.monotonic() + _PATIENCE_S
    while len(list(directory.glob("ready-*"))) < len(questions):
        for future in futures:
            if future.done():
                future.result()
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"{module}: not all processes are ready after {_PATIENCE_S} s")
        time.sleep(_LOOK_S)
    begin_s = time.monotonic() + _NOTICE_S
    draft = directory / "draft"
    draft.write_text(str(begin_s))
    draft.rename(directory / _BEGIN)
    return begin_s, futures
