"""Where the lab's broker, queues and tables are on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

from msgspec import Struct

from forebay.errors import SettingsError

#: Where it is unless the user says otherwise, below the directory of `forebay serve`.
DEFAULT_DIRECTORY = Path(".forebay/lab")


class LabDirectory(Struct, frozen=True):
    """The directory of a lab, and the names in it."""

    path: Path

    @property
    def broker_data(self) -> Path:
        """The queues and messages of its broker."""
        return self.path / "broker"

    @property
    def broker_log(self) -> Path:
        return self.path / "broker.log"

    @property
    def broker_state(self) -> Path:
        """Which process its broker is, and where it listens. The broker holds a lock on it."""
        return self.path / "broker.json"

    @property
    def queues_file(self) -> Path:
        """The queues of every scenario, to read and for `forebay serve --config`.

        It is written first and removed last: a directory that has it is a lab's.
        """
        return self.path / "queues.toml"

    @property
    def tables(self) -> Path:
        """The tables of every scenario, a file each."""
        return self.path / "tables"

    def tables_of(self, scenario: str) -> Path:
        return self.tables / f"{scenario}.sqlite3"

    def make(self) -> None:
        """Make it, unless it is there. Raises SettingsError for a directory with other things."""
        if self.path.is_dir() and any(self.path.iterdir()) and not self.queues_file.exists():
            raise SettingsError(
                f"{self.path} has other things in it. Name a new directory with --data."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self.queues_file.touch()

    def remove(self) -> bool:
        """Remove what the lab has in it, and itself if nothing else is; whether it was a lab's."""
        if not self.queues_file.exists():
            return False
        for directory in (self.broker_data, self.tables):
            shutil.rmtree(directory, ignore_errors=True)
        for file in (self.broker_log, self.broker_state, self.queues_file):
            file.unlink(missing_ok=True)
        # The directory above is the lab's doing only where the lab chose it.
        above = [self.path.parent] if self.path == DEFAULT_DIRECTORY else []
        for directory in (self.path, *above):
            if not any(directory.iterdir()):
                directory.rmdir()
        return True
