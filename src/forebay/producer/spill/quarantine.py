"""What is damaged is set aside: for who wants to look at it, and out of the reader's way."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from forebay.producer.spill.files import Files, write_whole

#: The directory's name.
QUARANTINE = "quarantine"


class Quarantine:
    """A directory of bounded size whose first files by name give way.

    Nothing depends on what is in it, so no error of the disk here stops anything.
    """

    def __init__(self, files: Files, directory: Path, bytes_max: int) -> None:
        self._files = files
        self._directory = directory / QUARANTINE
        self._bytes_max = bytes_max

    def keep(self, name: str, data: bytes) -> None:
        """Keep some bytes as a file, cut off at the most that the directory may hold."""
        data = data[: self._bytes_max]
        with suppress(OSError):
            self._make_room(len(data))
            handle = self._files.create(self._directory / name)
            try:
                write_whole(self._files, handle, data, 0)
            finally:
                self._files.close(handle)

    def take(self, path: Path) -> None:
        """Move a file in, or remove it when it is too large or cannot be moved.

        A file that stays nevertheless is met again, and counts for nothing.
        """
        try:
            size = self._size(path)
            if 0 < size <= self._bytes_max:
                self._make_room(size)
                self._files.rename(path, self._directory / path.name)
                return
        except OSError:
            pass
        with suppress(OSError):
            self._files.remove(path)

    def _make_room(self, wanted: int) -> None:
        self._files.make_directory(self._directory)
        sizes = {}
        for name in self._files.names(self._directory):
            with suppress(OSError):
                sizes[name] = self._size(self._directory / name)
        held = sum(sizes.values())
        for name, size in sizes.items():
            if held + wanted <= self._bytes_max:
                return
            self._files.remove(self._directory / name)
            held -= size

    def _size(self, path: Path) -> int:
        handle = self._files.open(path)
        try:
            return self._files.size(handle)
        finally:
            self._files.close(handle)
