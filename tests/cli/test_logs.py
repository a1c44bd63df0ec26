"""Log lines for people and for machines."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta

import pytest

from forebay.cli.logs import LogFormat, set_up_logs


def test_a_json_line_has_its_fields(capfd: pytest.CaptureFixture[str]) -> None:
    set_up_logs(LogFormat.JSON)
    logging.getLogger("forebay.broker").error("A commit failed", extra={"queue": "jobs"})
    line = json.loads(capfd.readouterr().err)
    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() == timedelta()
    assert line == {
        "level": "ERROR",
        "logger": "forebay.broker",
        "message": "A commit failed",
        "queue": "jobs",
    }


def test_a_text_line_is_for_people(capfd: pytest.CaptureFixture[str]) -> None:
    set_up_logs(LogFormat.TEXT)
    logging.getLogger("forebay.broker").warning("hello")
    assert capfd.readouterr().err.endswith(" WARNING hello\n")
