"""Saying each trouble once, and once that it is over."""

from __future__ import annotations

import logging

from forebay.errors import ForebayError, in_words

_log = logging.getLogger(__name__)


class Trouble:
    """Something that is done again and again, and may fail for a while.

    A failure is logged when it is the first or differs from the one before, so that an outage is
    said at once and fills no log.
    """

    def __init__(self, doing: str) -> None:
        """`doing` begins a sentence, as `Receiving from URL` does."""
        self._doing = doing
        #: The latest failure in words; empty when the latest try has worked.
        self.said = ""

    def failed(self, error: BaseException) -> None:
        """It failed and will be tried again."""
        text = in_words(error)
        if text != self.said:
            self.said = text
            # What is not ours to raise is a bug of somebody: then the way there matters.
            traceback = None if isinstance(error, ForebayError) else error
            _log.error("%s fails, will go on trying: %s", self._doing, text, exc_info=traceback)

    def over(self) -> None:
        """It works."""
        if self.said:
            self.said = ""
            _log.info("%s works again.", self._doing)
