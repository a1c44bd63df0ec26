"""What a log says of something that goes wrong again and again: when it begins and when it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from forebay.errors import DiskError

#: Time between two lines that say that a trouble lasts, in seconds.
_REMINDER_S = 60.0

#: A trouble that comes back sooner than this after it ended is told of later, if it stays, so that
#: one that comes and goes does not fill the log. In seconds.
_QUIET_S = 5.0

_log = logging.getLogger(__name__)


class Trouble:
    """One kind of trouble, told of in one line when it begins and one when it ends.

    `begins` and `ends` are the lines; what went wrong is added to the first. `now_s` is a clock
    that never goes back. It may be used by one thread at a time.
    """

    def __init__(self, begins: str, ends: str, now_s: Callable[[], float] = time.monotonic) -> None:
        self._begins = begins
        self._ends = ends
        self._now_s = now_s
        #: Whether it was met and is not over.
        self.lasts = False
        self._told = False
        self._told_s = -_REMINDER_S
        self._began_s = 0.0

    def met(self, what: BaseException | str) -> None:
        """Note that it is there, once more or for the first time.

        An error that is not the disk's is told with its traceback, each time.
        """
        now_s = self._now_s()
        if not self.lasts:
            self.lasts, self._told, self._began_s = True, False, now_s
        if isinstance(what, BaseException) and not isinstance(what, DiskError):
            _log.error("%s", self._begins, exc_info=what)
        elif not self._told and now_s - self._told_s >= _QUIET_S:
            _log.error("%s %s", self._begins, what)
        elif self._told and now_s - self._told_s >= _REMINDER_S:
            _log.error("%s So it is for %.0f s. %s", self._begins, now_s - self._began_s, what)
        else:
            return
        self._told, self._told_s = True, now_s

    def over(self) -> None:
        """Note that it is not there. Nothing happens when it was not."""
        if not self.lasts:
            return
        self.lasts = False
        if self._told:
            self._told_s = self._now_s()
            _log.warning("%s It lasted %.1f s.", self._ends, self._told_s - self._began_s)
