"""Who signs: botocore's credential chain, and a stand-in where no account is needed."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor
from pathlib import Path

from botocore import exceptions
from botocore.credentials import Credentials as BotocoreCredentials
from botocore.credentials import RefreshableCredentials
from botocore.session import Session

from forebay.client.retry import THROTTLING_CODES
from forebay.errors import CredentialsUnreachable, NoCredentials
from forebay.protocol.sigv4 import Credentials

_log = logging.getLogger(__name__)

#: What signs requests to a local endpoint when there are no credentials. It opens nothing.
STAND_IN = Credentials("local", "local")

#: Pause between two attempts to refresh credentials that are still valid, in seconds.
_REFRESH_PAUSE_S = 10.0

#: botocore's name for the provider that asks the machine's metadata service over the network.
_METADATA_PROVIDER = "iam-role"

#: Where a machine says who made it, and what it says on EC2.
#: Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html
_MACHINE_VENDOR = Path("/sys/class/dmi/id/sys_vendor")
_EC2_VENDOR = "Amazon EC2"

#: What botocore raises when somebody over the network did not answer, or not with credentials.
_PASSING = (
    exceptions.ConnectionError,
    exceptions.CredentialRetrievalError,
    exceptions.HTTPClientError,
    exceptions.MetadataRetrievalError,
    RuntimeError,
    OSError,
)
_CHECK_ROLE = "Check the network and the role of this machine or container."

_FINAL = (FileNotFoundError, PermissionError, NotImplementedError, RecursionError)
_LOGGED_OUT = (exceptions.SSOError, exceptions.TokenRetrievalError)


class CredentialChain:
    """The credentials of the environment, the shared files, or the role of this machine.

    Reading them may touch files and the network, so it happens in `executor` (None is the loop's
    own), once and then whenever temporary credentials near their end. Nobody waits for new ones
    while the old ones are valid, and failing to get new ones matters only then.
    """

    def __init__(self, *, local: bool, executor: Executor | None = None) -> None:
        self._local = local
        self._executor = executor
        self._source: BotocoreCredentials | None = None
        self._current: Credentials | None = None
        self._reading: asyncio.Future[Credentials] | None = None
        self._next_reading_s = 0.0

    async def current(self, timeout_s: float | None = None) -> Credentials:
        """The credentials to sign with now; `timeout_s` bounds how long to wait for them.

        Raises NoCredentials when there are none, and CredentialsUnreachable when there may be some
        later; for a local endpoint the stand-in signs instead. Cancelling leaves the reading to
        those who ask next.
        """
        if self._current is not None:
            if not self._ends_within(None):
                return self._current
            if not self._ends_within(0):
                if asyncio.get_running_loop().time() >= self._next_reading_s:
                    self._read_again()
                return self._current
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(self._read_again())
        except TimeoutError as error:
            raise CredentialsUnreachable(
                f"The AWS credentials were not read in {timeout_s:g} s. {_CHECK_ROLE}"
            ) from error

    def _ends_within(self, duration_s: int | None) -> bool:
        """Whether the credentials end so soon; None is when botocore would have new ones."""
        return isinstance(self._source, RefreshableCredentials) and self._source.refresh_needed(
            duration_s
        )

    def _read_again(self) -> asyncio.Future[Credentials]:
        """The reading that is under way, or a new one."""
        loop = asyncio.get_running_loop()
        if self._reading is None or self._reading.get_loop() is not loop:
            self._reading = loop.run_in_executor(self._executor, self._read)
            self._reading.add_done_callback(self._end_reading)
        return self._reading

    def _end_reading(self, reading: asyncio.Future[Credentials]) -> None:
        self._reading = None
        self._next_reading_s = reading.get_loop().time() + _REFRESH_PAUSE_S
        if reading.cancelled():
            return
        error = reading.exception()
        if error is None:
            self._current = reading.result()
        elif self._current is not None:
            _log.warning("New AWS credentials could not be read, will try again: %s", error)

    def _read(self) -> Credentials:
        try:
            if self._source is None:
                self._source = self._find()
            frozen = self._source.get_frozen_credentials() if self._source else None
        except Exception as error:
            if not self._local:
                raise _explain(error) from error
            _log.warning("%s Meanwhile a stand-in signs, which opens nothing.", _explain(error))
            frozen = None
        if frozen is not None and frozen.access_key and frozen.secret_key:
            return Credentials(frozen.access_key, frozen.secret_key, frozen.token)
        if self._local:
            return STAND_IN
        raise CredentialsUnreachable if _is_on_ec2() else NoCredentials

    def _find(self) -> BotocoreCredentials | None:
        session = Session()
        if self._local:
            # Off AWS the metadata service does not answer, and waiting for it takes seconds.
            session.get_component("credential_provider").remove(_METADATA_PROVIDER)
        return session.get_credentials()


def _explain(error: Exception) -> NoCredentials:
    """A failed reading in words that say what to do, and whether it may pass."""
    what = str(error).strip().rstrip(".") or type(error).__name__
    if isinstance(error, _LOGGED_OUT):
        return NoCredentials(f"The AWS credentials could not be read: {what}. Run `aws sso login`.")
    if isinstance(error, exceptions.ClientError):
        answer = error.response.get("Error", {}).get("Code")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        passing = status >= 500 or answer in THROTTLING_CODES
    else:
        passing = isinstance(error, _PASSING) and not isinstance(error, _FINAL)
    if passing:
        return CredentialsUnreachable(
            f"The AWS credentials could not be read now: {what}. {_CHECK_ROLE}"
        )
    return NoCredentials(
        f"The AWS credentials could not be read: {what}. Check AWS_PROFILE, the files in ~/.aws"
        " and the role."
    )


def _is_on_ec2() -> bool:
    """Whether a machine without credentials is one that may be given some by its role."""
    try:
        return _MACHINE_VENDOR.read_text().startswith(_EC2_VENDOR)
    except OSError:
        return False
