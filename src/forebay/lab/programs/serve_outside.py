"""The service outside, as a process of a run."""

from __future__ import annotations

import logging

from forebay.apps import process
from forebay.lab.program import Plan

#: The file of its ledger, in the directory of the run.
LEDGER_FILE = "outside.sqlite3"


def run_outside(plan: Plan, port: int) -> None:
    """In a process of its own: serve until SIGTERM, with the ledger it had before."""
    # Whoever starts this process needs no web server of its own.
    from forebay.lab.outside.process import serve_outside  # noqa: PLC0415

    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    process.run(serve_outside(plan.directory / LEDGER_FILE, clock=plan.clock(), port=port))
