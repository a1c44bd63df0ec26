"""How to log in to PostgreSQL, from a secret of AWS Secrets Manager.

The secret is the JSON that RDS and Aurora keep there: username and password, and mostly host, port
and dbname. No message and no error here shows anything of it.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any
from urllib.parse import quote, urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError
from botocore.session import Session
from msgspec import MsgspecError, Struct
from msgspec.json import Decoder

from forebay.client.endpoint import REGION_VARIABLES
from forebay.errors import SettingsError, StoreError

#: How long Secrets Manager may take to answer, in seconds. A Lambda function has ten.
_CONFIG = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2})

_PORT_DEFAULT = 5432

#: Errors that waiting does not mend, and what to do about each.
#: Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
_REFUSALS = {
    "ResourceNotFoundException": "There is no such secret in this account and region.",
    "AccessDeniedException": "Allow this role secretsmanager:GetSecretValue on it.",
    "InvalidRequestException": "It may be scheduled for deletion; restore it.",
    "InvalidParameterException": "Give its name or its ARN.",
    "ValidationException": "Give its name or its ARN.",
    "DecryptionFailure": "Allow this role to decrypt with the secret's KMS key.",
    "UnrecognizedClientException": "The AWS credentials are not valid.",
    "InvalidClientTokenId": "The AWS credentials are not valid.",
}


class _Login(Struct):
    """What is read of the secret.

    Source: https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html
    """

    username: str
    password: str
    host: str | None = None
    port: int | str | None = None
    dbname: str | None = None


_read = Decoder(_Login).decode


class DatabaseSecret:
    """A DatabaseAddress that is read from a secret, anew at each call: passwords are rotated.

    `address` says what the secret leaves out: a secret that RDS manages has no host.
    """

    def __init__(self, name: str, address: str | None = None) -> None:
        self._name = name
        self._address = address
        self._client: Any = None

    async def read(self) -> str:
        return await asyncio.to_thread(self._read)

    def _read(self) -> str:
        text = self._value()
        try:
            login = _read(text)
            port = None if login.port is None else int(login.port)
        except (MsgspecError, ValueError):
            # Its own error may repeat a piece of the secret.
            raise SettingsError(
                f"The secret {self._name} is not the JSON of a database: an object with the texts"
                " username and password, and mostly host, port and dbname."
            ) from None
        return self._url(login, port)

    def _url(self, login: _Login, port: int | None) -> str:
        given = urlsplit(self._address or "")
        host = login.host or given.hostname
        database = login.dbname or given.path.strip("/")
        missing = [name for name, found in (("host", host), ("dbname", database)) if not found]
        if missing or host is None:
            raise SettingsError(
                f"The secret {self._name} has no {' and no '.join(missing)}. Add it to the secret,"
                " or set FOREBAY_USAGE_DATABASE to postgresql://HOST/NAME."
            )
        # Encoded, a directory of sockets is a host, too.
        shown = f"[{host}]" if ":" in host else quote(host, "")
        query = f"?{given.query}" if given.query else ""
        return (
            f"postgresql://{quote(login.username, '')}:{quote(login.password, '')}@{shown}"
            f":{port or given.port or _PORT_DEFAULT}/{quote(database, '')}{query}"
        )

    def _value(self) -> str:
        try:
            if self._client is None:
                named = (os.environ.get(name) for name in REGION_VARIABLES)
                self._client = Session().create_client(
                    "secretsmanager", region_name=next(filter(None, named), None), config=_CONFIG
                )
            text = self._client.get_secret_value(SecretId=self._name).get("SecretString")
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            said = f"The secret {self._name} cannot be read: AWS Secrets Manager says {code}."
            advice = _REFUSALS.get(code)
            if advice is not None:
                raise SettingsError(f"{said} {advice}") from error
            raise StoreError(said) from error
        except NoRegionError as error:
            raise SettingsError(
                f"No AWS region is known for the secret {self._name}. Set AWS_REGION."
            ) from error
        except NoCredentialsError as error:
            raise SettingsError(
                f"There are no AWS credentials to read the secret {self._name} with. Set"
                " AWS_PROFILE, or give the process a role."
            ) from error
        except BotoCoreError as error:
            raise StoreError(f"The secret {self._name} cannot be read now: {error}.") from error
        if not isinstance(text, str):
            raise SettingsError(
                f"The secret {self._name} is binary. Store the JSON of the database as its text."
            )
        return text
