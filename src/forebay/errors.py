"""The one root of everything Forebay raises.

The docstring of an error is its default message: it says what went wrong in words a user can
act on.
"""

from __future__ import annotations


class ForebayError(Exception):
    """Something in Forebay went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or type(self).__name__).split()))


def in_words(error: BaseException) -> str:
    """What an error says, or the name of its type when it says nothing.

    Errors come from handlers and clients of anybody's, and one whose text cannot be made must not
    stop whoever reports it.
    """
    try:
        said = str(error)
    except Exception:
        said = ""
    return said or type(error).__name__


def with_type(error: BaseException) -> str:
    """The name of an error's type, and what it says."""
    name, said = type(error).__name__, in_words(error)
    return name if said == name else f"{name}: {said}"


class SettingsError(ForebayError):
    """A setting is missing or out of range."""


class BufferFull(ForebayError):
    """The producer's buffer is full; the message was not accepted."""


class Closed(ForebayError):
    """This object was closed; start a new one."""


class ServiceUnreachable(ForebayError):
    """The SQS endpoint could not be reached. Check its URL and that the broker runs."""


class StoreError(ForebayError):
    """The store could not be read or written. See that its disk has room and can be written."""


class NoCredentials(ForebayError):
    """No AWS credentials were found. Run `aws configure`, or set AWS_PROFILE or AWS_ACCESS_KEY_ID
    and AWS_SECRET_ACCESS_KEY, or pass credentials to the client."""


class CredentialsUnreachable(NoCredentials):
    """What hands out the AWS credentials does not answer now. Check the network and the role of
    this machine or container."""


class DataDirectoryInUse(ForebayError):
    """Another broker is using this data directory. Stop it or choose another --data directory."""


class JournalError(ForebayError):
    """The journal could not be read or written."""


class DiskError(JournalError):
    """The disk that holds the journal failed. Look at it; the broker goes on when it works."""


class DiskFull(DiskError):
    """The disk that holds the journal is full. Free some space on it."""


class JournalTooNew(JournalError):
    """The journal is from a newer Forebay. Upgrade, or choose another --data directory."""


class AddressInUse(ForebayError):
    """The address is taken by another process. Stop it or choose another port."""


class InvalidTransition(ForebayError):
    """A message got an event that its state does not allow. This is a bug; please report it."""
