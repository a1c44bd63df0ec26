"""Who signs, with an environment of our own."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from botocore import exceptions
from botocore.credentials import RefreshableCredentials

from forebay.client import credentials
from forebay.client.credentials import STAND_IN, CredentialChain
from forebay.errors import CredentialsUnreachable, NoCredentials
from forebay.protocol.sigv4 import Credentials


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own account, and no metadata service."""
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(credentials, "_MACHINE_VENDOR", tmp_path / "none")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


async def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    chain = CredentialChain(local=False)
    assert await chain.current() == Credentials("key", "secret", "token")


async def test_the_shared_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = key\naws_secret_access_key = secret\n"
    )
    assert await CredentialChain(local=True).current() == Credentials("key", "secret")


async def test_a_local_endpoint_needs_no_credentials() -> None:
    assert await CredentialChain(local=True).current() == STAND_IN


async def test_a_local_endpoint_never_asks_the_metadata_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    with mock.patch("botocore.utils.InstanceMetadataFetcher.retrieve_iam_role_credentials") as ask:
        assert await CredentialChain(local=True).current() == STAND_IN
        ask.assert_not_called()


async def test_aws_without_credentials_is_refused_with_what_to_do() -> None:
    with pytest.raises(NoCredentials, match="aws configure"):
        await CredentialChain(local=False).current()


async def test_a_profile_that_does_not_exist_matters_only_to_aws(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "absent")
    with pytest.raises(NoCredentials, match="absent"):
        await CredentialChain(local=False).current()
    assert await CredentialChain(local=True).current() == STAND_IN


async def test_credentials_are_read_once() -> None:
    chain = CredentialChain(local=True)
    first = await chain.current()
    with mock.patch.object(CredentialChain, "_read") as read:
        assert await chain.current() is first
        read.assert_not_called()


def temporary(lasts_s: float, refresh: Callable[[], dict[str, str]]) -> RefreshableCredentials:
    end = datetime.now(UTC) + timedelta(seconds=lasts_s)
    return RefreshableCredentials("first", "secret", "token", end, refresh, "test")


def renewed(key: str, lasts_s: float = 21_600) -> dict[str, str]:
    end = datetime.now(UTC) + timedelta(seconds=lasts_s)
    return {
        "access_key": key,
        "secret_key": "secret",
        "token": "token",
        "expiry_time": end.isoformat(),
    }


def chain_of(source: RefreshableCredentials) -> CredentialChain:
    chain = CredentialChain(local=False)
    chain._find = lambda: source  # type: ignore[method-assign]
    return chain


async def refreshed(chain: CredentialChain) -> None:
    """Until what is read behind the callers' backs has been read."""
    if chain._reading is not None:
        await asyncio.wait([chain._reading])


async def test_temporary_credentials_are_read_again_near_their_end() -> None:
    keys = iter(("second", "third"))
    chain = chain_of(temporary(30, lambda: renewed(next(keys))))
    assert await chain.current() == Credentials("second", "secret", "token")
    assert await chain.current() == Credentials("second", "secret", "token")


async def test_credentials_that_are_still_valid_outlive_a_failed_refresh(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[Exception] = []

    def refresh() -> dict[str, str]:
        if len(attempts) == 2:
            return renewed("second")
        attempts.append(exceptions.ConnectTimeoutError(endpoint_url="http://169.254.169.254"))
        raise attempts[-1]

    source = temporary(3_600, refresh)
    chain = chain_of(source)
    assert (await chain.current()).access_key_id == "first"
    monkeypatch.setattr(chain, "_next_reading_s", 0.0)
    monkeypatch.setattr(source, "_expiry_time", datetime.now(UTC) + timedelta(seconds=60))
    with caplog.at_level(logging.WARNING, "forebay"):
        for _ in range(5):
            assert (await chain.current()).access_key_id == "first"
            await refreshed(chain)
    assert len(attempts) == 1
    assert "New AWS credentials could not be read, will try again" in caplog.text
    monkeypatch.setattr(chain, "_next_reading_s", 0.0)
    assert (await chain.current()).access_key_id == "first"
    await refreshed(chain)
    # Over: now there must be new ones.
    monkeypatch.setattr(source, "_expiry_time", datetime.now(UTC) - timedelta(seconds=1))
    assert [(await chain.current()).access_key_id for _ in "ab"] == ["second", "second"]


async def test_all_who_ask_at_once_share_a_reading_and_one_may_leave() -> None:
    readings = 0
    begun, answer = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def refresh() -> dict[str, str]:
        nonlocal readings
        readings += 1
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(answer.wait(), loop).result()
        return renewed("second")

    chain = chain_of(temporary(-1, refresh))
    asking = [asyncio.create_task(chain.current()) for _ in range(5)]
    await begun.wait()
    asking.pop().cancel()
    await asyncio.sleep(0)
    answer.set()
    assert {each.access_key_id for each in await asyncio.gather(*asking)} == {"second"}
    assert readings == 1


async def test_a_reading_that_hangs_is_left_alone_in_time() -> None:
    hanging = threading.Event()
    chain = CredentialChain(local=False)
    with mock.patch.object(CredentialChain, "_find", side_effect=hanging.wait):
        for _ in range(2):
            with pytest.raises(CredentialsUnreachable, match=r"were not read in 0\.01 s"):
                await chain.current(0.01)
        hanging.set()
        await refreshed(chain)


def refused_by_sts(code: str, status: int) -> Exception:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return exceptions.ClientError(answer, "AssumeRole")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (exceptions.ConnectTimeoutError(endpoint_url="u"), "Check the network"),
        (exceptions.EndpointConnectionError(endpoint_url="u"), "Check the network"),
        (exceptions.ReadTimeoutError(endpoint_url="u"), "Check the network"),
        (exceptions.CredentialRetrievalError(provider="p", error_msg="503"), "the role"),
        (exceptions.MetadataRetrievalError(error_msg="e"), "the role"),
        (RuntimeError("the refreshed credentials are still expired."), "still expired"),
        (TimeoutError(), "TimeoutError"),
        (refused_by_sts("InternalFailure", 500), "InternalFailure"),
        (refused_by_sts("Throttling", 400), "Throttling"),
    ],
    ids=repr,
)
async def test_a_failure_that_may_pass_is_told_apart(error: Exception, advice: str) -> None:
    with mock.patch.object(CredentialChain, "_find", side_effect=error):
        with pytest.raises(CredentialsUnreachable, match=advice) as failure:
            await CredentialChain(local=False).current()
        assert len(str(failure.value).splitlines()) == 1
        assert await CredentialChain(local=True).current() == STAND_IN


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (exceptions.UnauthorizedSSOTokenError(), "Run `aws sso login`"),
        (exceptions.SSOTokenLoadError(error_msg="e"), "Run `aws sso login`"),
        (exceptions.TokenRetrievalError(provider="sso", error_msg="e"), "Run `aws sso login`"),
        (exceptions.PartialCredentialsError(provider="env", cred_var="v"), "AWS_PROFILE"),
        (FileNotFoundError(2, "No such file", "token"), "token"),
        (refused_by_sts("AccessDenied", 403), "AccessDenied"),
        (ValueError("nonsense"), "nonsense"),
    ],
    ids=repr,
)
async def test_a_failure_that_stays_is_told_apart(error: Exception, advice: str) -> None:
    with mock.patch.object(CredentialChain, "_find", side_effect=error):
        with pytest.raises(NoCredentials, match=advice) as failure:
            await CredentialChain(local=False).current()
        assert type(failure.value) is NoCredentials


async def test_a_machine_on_ec2_may_be_given_credentials_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = tmp_path / "sys_vendor"
    vendor.write_text("Amazon EC2\n")
    monkeypatch.setattr(credentials, "_MACHINE_VENDOR", vendor)
    with pytest.raises(CredentialsUnreachable, match="role of this machine"):
        await CredentialChain(local=False).current()
