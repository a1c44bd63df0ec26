"""What one worker remembers of messages that come to it again."""

from __future__ import annotations

from collections import OrderedDict

from msgspec import Struct

#: Messages that are remembered at most. The one that was seen longest ago is forgotten first.
REMEMBERED_MAX = 20_000

#: Interruptions for which a queue's maxReceiveCount should leave room beside the failures that are
#: allowed: a message that takes minutes meets this many restarts in a day of many deployments.
INTERRUPTIONS_MAX = 5


class Past(Struct):
    """What became of one message here so far."""

    failures: int = 0
    #: Receives that ended without its handler having failed: interrupted, behind another message of
    #: its group, or put off by its handler.
    spared: int = 0


class History:
    """Failures and interruptions of a queue's messages, as far as this worker has seen them.

    SQS counts receives and nothing else, and an interruption costs a receive as a failure does.
    What other workers saw, and this one before its restart, cannot be known. So there are two
    honest counts, and each is used where being wrong does no harm:

    - Failures seen here are never more than there were. `Queue.failures_max` is measured by them,
      so no message is ever rejected too early. With several workers it may be rejected later, once
      one of them has seen as many; the queue's maxReceiveCount stays the bound for all together.
    - Receives less those known to be spared are never fewer than the failures there were. Backoff
      grows with them, so that a message that fails everywhere comes back ever later.
    """

    def __init__(self) -> None:
        self._past: OrderedDict[str, Past] = OrderedDict()

    def of(self, message_id: str) -> Past:
        """What is known of a message, to be read and written. A new one has no past."""
        past = self._past.get(message_id)
        if past is None:
            past = self._past[message_id] = Past()
            if len(self._past) > REMEMBERED_MAX:
                self._past.popitem(last=False)
        else:
            self._past.move_to_end(message_id)
        return past

    def failures_at_most(self, message_id: str, receive_count: int) -> int:
        """How often its handler may have failed, the receive under way included; at least 1."""
        past = self._past.get(message_id)
        return max(1, receive_count - (past.spared if past is not None else 0))

    def forget(self, message_id: str) -> None:
        """It is done with."""
        self._past.pop(message_id, None)
