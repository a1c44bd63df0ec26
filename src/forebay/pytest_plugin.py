"""The pytest plugin: SQS in your tests, without Docker or an account.

It is loaded in every project that has Forebay installed, and costs nothing until a test asks for
one of its fixtures: what they need is imported then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forebay.testing import BrokerForTests, VirtualClock

#: The marker of a test that wants its broker in another way.
_MARKER = "forebay"

#: The setting that says which region the tests are in.
_REGION = "forebay_region"

#: Variables that would lead a client elsewhere than `forebay_environment` says.
_MISLEADING = (
    "AWS_DEFAULT_PROFILE",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(_REGION, "The region of the forebay fixtures, as your code names it.")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(virtual_clock=False): give the test an SQS broker of its own, whose clock it"
        " can put forward with forebay.clock.advance(seconds=30).",
    )


@pytest.fixture(scope="session")
def forebay_broker(request: pytest.FixtureRequest) -> Iterator[BrokerForTests]:
    """An SQS broker in memory, for the whole session. Nothing is deleted between the tests."""
    with _new_broker(request) as broker:
        yield broker


@pytest.fixture
def forebay(request: pytest.FixtureRequest) -> Iterator[BrokerForTests]:
    """An SQS broker. Queues that appear during the test are deleted after it."""
    if _wants_virtual_clock(request):
        with _new_broker(request, virtual_clock=True) as broker:
            yield from _lent(broker, request)
        return
    broker = request.getfixturevalue("forebay_broker")
    with broker.cleaned_up():
        yield from _lent(broker, request)


@pytest.fixture
def forebay_clock(forebay: BrokerForTests) -> VirtualClock:
    """The clock of the `forebay` fixture's broker: forebay_clock.advance(seconds=30)."""
    return forebay.clock


@pytest.fixture
def forebay_environment(forebay: BrokerForTests, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Environment variables with which every AWS SDK finds the `forebay` fixture's broker."""
    for name in _MISLEADING:
        monkeypatch.delenv(name, raising=False)
    for name, value in forebay.environment.items():
        monkeypatch.setenv(name, value)
    _forget_default_session(monkeypatch)
    return forebay.environment


def _new_broker(request: pytest.FixtureRequest, *, virtual_clock: bool = False) -> BrokerForTests:
    from forebay.protocol.identifiers import DEFAULT_REGION  # noqa: PLC0415
    from forebay.testing import BrokerForTests  # noqa: PLC0415

    region = request.config.getini(_REGION) or DEFAULT_REGION
    return BrokerForTests(virtual_clock=virtual_clock, region=region)


def _lent(broker: BrokerForTests, request: pytest.FixtureRequest) -> Iterator[BrokerForTests]:
    """Lend the broker to a test, and see that the test has awaited what it asked to wait for."""
    failed_before = request.session.testsfailed
    yield broker
    forgotten = broker.take_forgotten()
    if forgotten and request.session.testsfailed == failed_before:
        pytest.fail(
            f"Never awaited: that a {forgotten[0]}. Write `await` in front of it, or outside of"
            " coroutines `.result()` behind it.",
            pytrace=False,
        )


def _wants_virtual_clock(request: pytest.FixtureRequest) -> bool:
    marker = request.node.get_closest_marker(_MARKER)
    options = dict(marker.kwargs) if marker is not None else {}
    virtual_clock = options.pop("virtual_clock", False)
    if options or (marker is not None and marker.args):
        pytest.fail(
            f"@pytest.mark.{_MARKER} takes virtual_clock=True and nothing else.", pytrace=False
        )
    return bool(virtual_clock) or "forebay_clock" in request.fixturenames


def _forget_default_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3.client remembers the credentials of its first use; keep them out, and these in here."""
    try:
        import boto3  # noqa: PLC0415
    except ImportError:
        return
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
