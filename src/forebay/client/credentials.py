"""Who signs: botocore's credential chain, and a stand-in where no account is needed."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor

from botocore.credentials import Credentials as BotocoreCredentials
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from forebay.errors import ForebayError
from forebay.protocol.sigv4 import Credentials

#: What signs requests to a local endpoint when there are no credentials. It opens nothing.
STAND_IN = Credentials("local", "local")

#: botocore's name for the provider that asks the machine's metadata service over the network.
_METADATA_PROVIDER = "iam-role"


class NoCredentials(ForebayError):
    """No AWS credentials were found. Run `aws configure`, or set AWS_PROFILE or AWS_ACCESS_KEY_ID
    and AWS_SECRET_ACCESS_KEY, or pass credentials to the client."""


class CredentialChain:
    """The credentials of the environment, the shared files, or the role of this machine.

    Reading them may touch files and the network, so it happens in `executor` (None is the loop's
    own), once and then whenever temporary credentials near their end.
    """

    def __init__(self, *, local: bool, executor: Executor | None = None) -> None:
        self._local = local
        self._executor = executor
        self._source: BotocoreCredentials | None = None
        self._current: Credentials | None = None
        self._reading = asyncio.Lock()

    async def current(self) -> Credentials:
        """The credentials to sign with now.

        Raises NoCredentials when there are none; for a local endpoint the stand-in signs instead.
        """
        if self._current is None or self._is_stale():
            async with self._reading:
                if self._current is None or self._is_stale():
                    loop = asyncio.get_running_loop()
                    self._current = await loop.run_in_executor(self._executor, self._read)
        return self._current

    def _is_stale(self) -> bool:
        return isinstance(self._source, RefreshableCredentials) and self._source.refresh_needed()

    def _read(self) -> Credentials:
        try:
            if self._source is None:
                self._source = self._find()
            frozen = self._source.get_frozen_credentials() if self._source else None
        except BotoCoreError as error:
            if not self._local:
                raise NoCredentials(f"The AWS credentials could not be read: {error}") from error
            frozen = None
        if frozen is not None and frozen.access_key and frozen.secret_key:
            return Credentials(frozen.access_key, frozen.secret_key, frozen.token)
        if self._local:
            return STAND_IN
        raise NoCredentials

    def _find(self) -> BotocoreCredentials | None:
        session = Session()
        if self._local:
            # Off AWS the metadata service does not answer, and waiting for it takes seconds.
            session.get_component("credential_provider").remove(_METADATA_PROVIDER)
        return session.get_credentials()
