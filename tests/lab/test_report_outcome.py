"""How a run ended, in words for a terminal and in figures for programs."""

from __future__ import annotations

import io
import re
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from forebay.apps.progress import BarAudience, LineAudience
from forebay.lab.report.outcome import Outcome, outcome
from forebay.lab.report.record import (
    VERSION,
    LabRecord,
    QueueRecord,
    RunRecord,
    as_json,
    lab_record,
)
from forebay.lab.report.text import conclusion, verdict_line, verdict_table, watching
from forebay.lab.runner import Result
from tests.lab.made_up import BROKEN, DEAD, HOLDS, KEY, LUCK, QUEUE, made_up, without

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "lab-report.md"

BROKEN_TEXT = f"{BROKEN.invariant}: {BROKEN.detail}"


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (made_up(), Outcome("PASS", "", ("1 of 1 invariants hold",))),
        (made_up(verdicts=(HOLDS, BROKEN)), Outcome("FAIL", "", (BROKEN_TEXT,))),
        (made_up(verdicts=()), Outcome("FAIL", "", ("it gave no verdict",))),
        (
            made_up(verdicts=(), error="There is no queue."),
            Outcome("FAIL", "it could not be run to its end", ("There is no queue.",)),
        ),
        (
            without([KEY], HOLDS, BROKEN),
            Outcome("FAIL", "as it must without key", (BROKEN_TEXT,)),
        ),
        (
            without([KEY], msgspec.structs.replace(BROKEN, detail="never performed")),
            Outcome(
                "FAIL",
                "not as stated: without key it was to break “each effect is performed once”",
                ("each effect is performed once: never performed",),
            ),
        ),
        (
            without([KEY], HOLDS),
            Outcome("PASS", "a surprise: it was to fail without key", ("1 of 1 invariants hold",)),
        ),
        (
            # The reason that was stated is the first one.
            without([KEY, LUCK], msgspec.structs.replace(BROKEN, invariant="other"), BROKEN),
            Outcome(
                "FAIL", "as it must without key and luck", (BROKEN_TEXT, f"other: {BROKEN.detail}")
            ),
        ),
    ],
)
def test_a_run_ends_with_a_verdict_and_its_reasons(result: Result, expected: Outcome) -> None:
    assert outcome(result) == expected
    assert result.passed == (expected.word == "PASS")


def test_a_line_tells_how_a_run_ended() -> None:
    assert verdict_line(made_up()).plain == (
        "letters, seed 7, 1.3 s: PASS: 1 sent = 1 done + 0 visible + 0 in flight +"
        " 0 dead-lettered + 0 expired; 1 of 1 invariants hold"
    )
    assert verdict_line(without([KEY], BROKEN, made_up().verdicts[0])).plain == (
        f"letters, seed 7, 1.3 s: FAIL, as it must without key: {BROKEN_TEXT}"
    )
    broken_off = made_up(error="It broke off.\nTraceback", verdicts=(BROKEN,))
    assert verdict_line(broken_off).plain.endswith("its end: It broke off. (and 1 more)")


@pytest.mark.parametrize(
    ("results", "text"),
    [
        ([made_up()], "1 run: 1 passed, 0 failed."),
        ([made_up(), made_up(verdicts=())], "2 runs: 1 passed, 1 failed."),
    ],
)
def test_it_is_concluded_how_many_passed(results: list[Result], text: str) -> None:
    assert conclusion(results).plain == text


def test_runs_that_were_stopped_are_not_passed_over() -> None:
    said = conclusion([made_up(verdicts=(HOLDS,))], not_ended=2)
    assert said.plain == "1 run: 1 passed, 0 failed, and 2 stopped before the end."
    assert said.style == conclusion([made_up(verdicts=(BROKEN,))]).style


def test_the_record_has_all_that_is_known() -> None:
    record = msgspec.json.decode(as_json(lab_record([without([KEY], HOLDS, BROKEN)], "1.2.3")))
    assert record["version"] == VERSION
    assert (record["forebay"], record["passed"]) == ("1.2.3", False)
    (run,) = record["runs"]
    assert run == {
        "scenario": "letters",
        "title": "A worker is killed with letters in its hands.",
        "claim": "Each letter is mailed once.",
        "seed": 7,
        "without": ["key"],
        "options": {"count": 1},
        "passed": False,
        "failed_as_stated": True,
        "remark": "as it must without key",
        "error": None,
        "verdicts": [msgspec.to_builtins(HOLDS), msgspec.to_builtins(BROKEN)],
        "queues": [
            {
                "name": "",
                "queue": QUEUE,
                "dead_letter_queue": DEAD,
                "sent": 1,
                "done": 1,
                "visible": 0,
                "in_flight": 0,
                "dead_lettered": 0,
                "expired": 0,
                "purged": 0,
                "lost": 0,
            }
        ],
        "events": {
            "applied": 1,
            "deleted": 1,
            "depth": 6,
            "ended": 2,
            "fault": 1,
            "received": 2,
            "sent": 1,
            "started": 3,
        },
        "effects": {"mail": 1},
        "seconds": 1.3,
        "time_scale": 10.0,
    }


@pytest.mark.parametrize(
    ("result", "as_stated"),
    [
        (made_up(verdicts=(BROKEN,)), None),
        (without([KEY], BROKEN), True),
        (without([LUCK], BROKEN), False),
        (without([KEY], HOLDS), False),
        (msgspec.structs.replace(without([KEY], BROKEN), error="It broke off."), False),
    ],
)
def test_programs_can_tell_whether_a_control_failed_as_stated(
    result: Result, as_stated: bool | None
) -> None:
    assert lab_record([result], "1").runs[0].failed_as_stated is as_stated


@pytest.mark.parametrize(
    ("heading", "record"),
    [("The whole", LabRecord), ("A run", RunRecord), ("A queue", QueueRecord)],
)
def test_the_page_documents_every_field(heading: str, record: type[msgspec.Struct]) -> None:
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \| .+ \|$", section, re.MULTILINE)
    assert documented == list(record.__struct_fields__)


@pytest.mark.parametrize(
    ("terminal", "kind", "audience"),
    [(True, "xterm", BarAudience), (True, "dumb", LineAudience), (False, "xterm", LineAudience)],
)
def test_bars_are_drawn_where_they_can_be(
    terminal: bool, kind: str, audience: type[object]
) -> None:
    page = io.StringIO()
    with watching(Console(file=page, force_terminal=terminal, _environ={"TERM": kind})) as seen:
        assert isinstance(seen, audience)


def test_a_narrow_table_leaves_its_columns_to_the_reasons() -> None:
    def headings(width: int) -> list[str]:
        return [str(column.header) for column in verdict_table([made_up()], width).columns]

    assert headings(80) == ["scenario", "verdict", "seconds", "seed", "ledger, and the reason"]
    assert headings(60) == ["scenario", "verdict", "ledger, and the reason"]
