"""A client whose machine has the wrong time goes by the time of SQS."""

from __future__ import annotations

from pathlib import Path

import pytest

from forebay.broker.access import Access
from forebay.broker.keys import load_keys
from forebay.broker.running import running_broker
from forebay.client.clock_skew import service_time_ms
from forebay.client.http import HttpSqsClient
from forebay.client.retry import NO_RETRY
from forebay.clock import SystemClock
from forebay.errors import ServiceUnreachable
from forebay.protocol.actions import ListQueuesRequest
from forebay.protocol.errors import SIGNATURE_DOES_NOT_MATCH, SqsError
from forebay.protocol.sigv4 import Credentials

HOUR_MS = 3_600_000

CREDENTIALS = Credentials("AKIDEXAMPLE", "a secret of the tests")

KEYS = f"""
[[key]]
access_key_id = "{CREDENTIALS.access_key_id}"
secret_access_key = "{CREDENTIALS.secret_access_key}"
account_id = "111111111111"
"""


class WrongClock(SystemClock):
    """The machine's clock, off by so much, which can be set."""

    def __init__(self, off_ms: int) -> None:
        self.off_ms = off_ms

    def wall_ms(self) -> int:
        return super().wall_ms() + self.off_ms


@pytest.mark.parametrize("off_ms", [-3 * HOUR_MS, 3 * HOUR_MS])
async def test_a_wrong_clock_is_found_out_and_so_is_that_it_was_set(
    off_ms: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text(KEYS)
    keys.chmod(0o600)
    clock = WrongClock(off_ms)
    async with (
        running_broker(None, access=Access(load_keys(keys))) as server,
        HttpSqsClient(
            server.endpoint_url,
            credentials=CREDENTIALS,
            retry=NO_RETRY,
            clock=clock,
        ) as client,
    ):
        for _ in range(2):
            await client.list_queues(ListQueuesRequest())
        said = [record.message for record in caplog.records if "clock" in record.message]
        assert len(said) == 1
        assert ("ahead of" if off_ms > 0 else "behind") in said[0]
        clock.off_ms = 0
        await client.list_queues(ListQueuesRequest())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Signature expired: 20130216T144545Z is now earlier than 20130216T145045Z"
            " (20130216T150045Z - 10 min.)",
            1_361_026_845_000,
        ),
        (
            "Signature not yet current: 20130216T170045Z is still later than 20130216T151545Z"
            " (20130216T150045Z + 15 min.)",
            1_361_026_845_000,
        ),
        ("Signature expired: (20139999T150045Z - 10 min.)", None),
        ("Signature expired: some time ago", None),
        ("The request signature we calculated does not match (20130216T150045Z - 1)", None),
        ("", None),
    ],
)
def test_the_service_s_time_is_in_its_refusal(text: str, expected: int | None) -> None:
    assert service_time_ms(SqsError(SIGNATURE_DOES_NOT_MATCH, text)) == expected


def test_no_other_error_tells_a_time() -> None:
    assert service_time_ms(ServiceUnreachable("Signature expired: (20130216T150045Z - 1)")) is None
