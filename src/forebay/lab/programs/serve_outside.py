"""The service outside, as a process of a run."""

from __future__ import annotations

import logging

from forebay.apps import process
from forebay.lab.outside.process import serve_outside
from forebay.lab.program import Plan

#: The file of its ledger, in the directory of the run.
LEDGER_FILE = "outside.sqlite3"


def run_outside(plan: Plan, port: int) -> None:
    """In a process of its own: serve until SIGTERM, with the ledger it had before."""
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    process.run(serve_outside(plan.directory / LEDGER_FILE, clock=plan.clock(), port=port))
