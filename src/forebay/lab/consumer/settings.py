"""What a consumer is told, read from the environment."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

from forebay.errors import SettingsError
from forebay.lab.consumer.variables import VARIABLES
from forebay.protocol.limits import BATCH_ENTRIES_MAX

_SQLITE = "sqlite:///"
_HTTP = "http://"

_log = logging.getLogger(__name__)


class ConsumerSettings(Struct, frozen=True, kw_only=True):
    """The variables of the consumer as values; see VARIABLES for what each means."""

    queue_url: str
    aws_region: str | None = None
    wait_time_seconds: int = 10
    max_messages: int = 1
    crash_rate: float = 0.0
    crash_after_receive: bool = False
    idempotency_cache_size: int = 1000
    message_limit: int = 0
    idle_timeout_seconds: float = 0.0
    reject_payload_marker: str = ""
    message_status_table: str = ""
    message_side_effects_table: str = ""
    side_effect_delay_seconds: float = 0.0
    crash_after_side_effect: bool = False
    side_effect_log_path: str = ""
    side_effect_log_field: str = "sequence"
    versioning_enabled: bool = False
    version_state_path: str = ""
    version_log_path: str = ""
    version_seen_log_path: str = ""
    version_key: str = "version"
    entity_key: str = "entity_id"
    business_idempotency_field: str = ""
    log_level: str = "INFO"

    @property
    def status_path(self) -> Path | None:
        """The SQLite file of MESSAGE_STATUS_TABLE. Raises SettingsError."""
        return _table_path("MESSAGE_STATUS_TABLE", self.message_status_table)

    @property
    def effects_path(self) -> Path | None:
        """The SQLite file of MESSAGE_SIDE_EFFECTS_TABLE, if it is one. Raises SettingsError."""
        if self.outside_url is not None:
            return None
        return _table_path("MESSAGE_SIDE_EFFECTS_TABLE", self.message_side_effects_table)

    @property
    def versions_path(self) -> Path | None:
        """The SQLite file with the newest versions; None without VERSIONING_ENABLED."""
        return Path(self.version_state_path).absolute() if self.versioning_enabled else None

    @property
    def logs(self) -> dict[str, str]:
        """The files that lines are appended to, by the variables that name them."""
        names = ["SIDE_EFFECT_LOG_PATH"]
        if self.versioning_enabled:
            names = ["VERSION_LOG_PATH", "VERSION_SEEN_LOG_PATH"]
        paths = {name: str(getattr(self, name.lower())) for name in names}
        return {name: path for name, path in paths.items() if path}

    @property
    def outside_url(self) -> str | None:
        """The outside service of MESSAGE_SIDE_EFFECTS_TABLE, if it is one."""
        named = self.message_side_effects_table
        return named if named.startswith(_HTTP) else None


def read_settings(environment: Mapping[str, str]) -> ConsumerSettings:
    """The settings that an environment asks for; an empty variable is one that is not there.

    More than 10 for MAX_MESSAGES is taken as 10, with a line in the log. Raises SettingsError,
    which names the variable and what it may be.
    """
    values: dict[str, Any] = {}
    for variable in VARIABLES:
        value = variable.value(environment)
        if value is not None:
            values[variable.field] = value
    if "queue_url" not in values:
        raise SettingsError(
            "QUEUE_URL is not set; it must be the URL of the queue to consume, such as"
            " http://127.0.0.1:9324/000000000000/orders. Set it in the environment or in .env, or"
            " give --queue-url."
        )
    asked = values.get("max_messages", 1)
    if asked > BATCH_ENTRIES_MAX:
        _log.warning(
            "MAX_MESSAGES is %d; SQS gives at most %d messages in one receive, so it is %d.",
            asked,
            BATCH_ENTRIES_MAX,
            BATCH_ENTRIES_MAX,
        )
        values["max_messages"] = BATCH_ENTRIES_MAX
    settings = ConsumerSettings(**values)
    _check_together(settings)
    return settings


def _check_together(settings: ConsumerSettings) -> None:
    """Raise SettingsError for what does not fit together, before anything is received."""
    _ = settings.status_path, settings.effects_path
    if settings.versioning_enabled:
        for name in ("VERSION_STATE_PATH", "VERSION_LOG_PATH"):
            if not getattr(settings, name.lower()):
                raise SettingsError(
                    f"{name} is not set; with VERSIONING_ENABLED it must be the path of a file."
                )


def _table_path(variable: str, address: str) -> Path | None:
    if not address:
        return None
    if address.startswith(_SQLITE):
        path = unquote(address.removeprefix(_SQLITE))
        if path and not path.startswith(":memory:") and "\0" not in path:
            return Path(path).absolute()
        raise SettingsError(
            f"{variable} is {address!r}, which names no file. Say one, as in"
            " sqlite:///messages.sqlite3."
        )
    if "://" not in address:
        raise SettingsError(
            f"{variable} is {address!r}, the name of a DynamoDB table. Tables in DynamoDB are not"
            " there yet; name a file: sqlite:///messages.sqlite3."
        )
    takes = "sqlite:///PATH"
    if variable == "MESSAGE_SIDE_EFFECTS_TABLE":
        takes += f" or {_HTTP}HOST:PORT of an outside service"
    raise SettingsError(f"{variable} is {address!r}; it must be {takes}.")
