"""Who signs, with an environment of our own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest
from botocore.credentials import RefreshableCredentials

from forebay.client.credentials import STAND_IN, CredentialChain, NoCredentials
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


async def test_temporary_credentials_are_read_again_near_their_end() -> None:
    now = datetime.now(UTC)
    keys = iter(("second", "third"))

    def refresh() -> dict[str, str]:
        return {
            "access_key": next(keys),
            "secret_key": "secret",
            "token": "token",
            "expiry_time": (now + timedelta(hours=6)).isoformat(),
        }

    temporary = RefreshableCredentials(
        "first", "secret", "token", now + timedelta(seconds=30), refresh, "test"
    )
    with mock.patch("botocore.session.Session.get_credentials", return_value=temporary):
        chain = CredentialChain(local=False)
        assert await chain.current() == Credentials("second", "secret", "token")
        assert await chain.current() == Credentials("second", "secret", "token")
