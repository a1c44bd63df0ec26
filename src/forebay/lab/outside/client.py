"""Asking the outside service for effects."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

import msgspec

from forebay.client.connection import HttpAnswer
from forebay.client.endpoint import Address
from forebay.client.pool import Pool
from forebay.clock import Clock, SystemClock
from forebay.errors import ForebayError, SettingsError
from forebay.lab.outside.ledger import PerformedEffect
from forebay.lab.outside.wire import (
    CALLER_HEADER,
    KEY_HEADER,
    OutsideAnswer,
    OutsideSettings,
    Refusal,
)

#: How long an answer may take, in seconds of the client's clock: longer than the slowest effect of
#: a scenario.
TIMEOUT_S = 300.0

#: Most requests at once.
_CONNECTIONS = 64

#: The pool's own bound for an answer, in seconds of the machine: TIMEOUT_S ends sooner.
_EXCHANGE_S = 86_400.0

#: What stands in a header as it is.
_IN_HEADERS = "".join(chr(code) for code in range(0x20, 0x7F) if code != ord("%"))


class OutsideError(ForebayError):
    """The outside service did not do an effect, or nobody knows whether it did."""


class OutsideDeclined(OutsideError):
    """The outside service declined. Nothing was done."""


class OutsideBusy(OutsideError):
    """The effect of the same key is being done just now. Ask again later."""


class OutsideRefused(OutsideError):
    """The outside service cannot take such a request, now or later. Nothing was done."""


class OutsideUnreachable(OutsideError):
    """The outside service gave no answer. The effect may have been done or not."""


class OutsideClient:
    """A caller of the outside service. Use it as an async context manager, or call `close`.

    It tries nothing again by itself: whoever asks knows whether that may do an effect twice.
    `caller` is its name in the service's ledger. Raises SettingsError when `url` is none.
    """

    def __init__(
        self,
        url: str,
        clock: Clock | None = None,
        *,
        caller: str = "",
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        parts = urlsplit(url)
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if parts.scheme != "http" or not host:
            raise SettingsError(
                f"{url!r} is no URL of an outside service; it must look like http://127.0.0.1:8080."
            )
        self.url = f"http://{parts.netloc}"
        self._address = Address(host, port or 80, tls=False)
        self._netloc = parts.netloc
        self._clock = clock or SystemClock()
        self._caller = caller
        self._timeout_s = timeout_s
        self._pool = Pool(_CONNECTIONS)

    async def perform(
        self, action: str, subject: str, key: str | None = None, **body: object
    ) -> OutsideAnswer:
        """Have an effect done: once for a key, every time without one.

        Raises OutsideDeclined, OutsideBusy, OutsideRefused and OutsideUnreachable.
        """
        answer = await self._ask(
            "POST", f"/effects/{quote(action, safe='')}", {"subject": subject, **body}, key
        )
        return msgspec.json.decode(answer, type=OutsideAnswer)

    async def effects(self) -> list[PerformedEffect]:
        """The service's ledger. Raises OutsideUnreachable."""
        answer = await self._ask("GET", "/effects")
        return msgspec.json.decode(answer, type=list[PerformedEffect])

    async def configure(self, *, delay_s: float = 0.0, declines: tuple[str, ...] = ()) -> None:
        """Change how slow the service is, and what it declines. Raises OutsideUnreachable."""
        await self._ask("PUT", "/settings", OutsideSettings(delay_s=delay_s, declines=declines))

    async def close(self) -> None:
        """Let go of connections. Closing twice does nothing."""
        await self._pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _ask(
        self, method: str, path: str, body: object = None, key: str | None = None
    ) -> bytes:
        content = b"" if body is None else msgspec.json.encode(body)
        # A connection that was kept may be closed by the service just as the request leaves, and
        # then nobody knows whether it was done.
        headers = {
            "Host": self._netloc,
            "Connection": "close",
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
        }
        if self._caller:
            headers[CALLER_HEADER] = self._caller
        if key is not None:
            headers[KEY_HEADER] = key
        lines = "".join(f"{name}: {_header(value)}\r\n" for name, value in headers.items())
        request = f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + content
        answer = await self._exchange(request)
        if answer.status == 200:
            return answer.body
        raise _error(answer)

    async def _exchange(self, request: bytes) -> HttpAnswer:
        deadline_s = asyncio.get_running_loop().time() + _EXCHANGE_S
        asking = asyncio.ensure_future(
            self._pool.exchange(self._address, request, deadline_s=deadline_s, repeatable=False)
        )
        waiting = asyncio.ensure_future(self._clock.sleep(self._timeout_s))
        try:
            await asyncio.wait((asking, waiting), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise OutsideUnreachable(
                    f"The outside service at {self.url} gave no answer in {self._timeout_s:g} s."
                )
            return asking.result()
        except OSError as error:
            raise OutsideUnreachable(
                f"The outside service at {self.url} gave no answer: {error}."
            ) from error
        finally:
            asking.cancel()
            waiting.cancel()


def _error(answer: HttpAnswer) -> OutsideError:
    try:
        says = msgspec.json.decode(answer.body, type=Refusal).error
    except msgspec.MsgspecError:
        says = f"The outside service answered {answer.status}."
    if answer.status >= 500:
        return OutsideUnreachable(says)
    return {402: OutsideDeclined, 409: OutsideBusy}.get(answer.status, OutsideRefused)(says)


def _header(value: str) -> str:
    """A text as a header takes it: what is not printable ASCII becomes %XX."""
    return quote(value, safe=_IN_HEADERS)
