"""Messages for people: a line about each, its attributes, and its body."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from rich.highlighter import JSONHighlighter
from rich.text import Text

from forebay.cli.connection import short_name
from forebay.messages.packing import PACK_ATTRIBUTE, PackError, open_pack
from forebay.protocol.actions import Message, MessageAttributeValue

#: How many records of a pack are shown.
_RECORDS_SHOWN = 3


def readable_message(message: Message) -> Text:
    """A message that was received; of a pack, its header and its first records."""
    attributes = message.attributes or {}
    heading = readable_heading(
        message.message_id,
        sent_at_ms=int(attributes["SentTimestamp"]) if "SentTimestamp" in attributes else None,
        receive_count=int(attributes.get("ApproximateReceiveCount", "1")),
        group_id=attributes.get("MessageGroupId"),
        source_arn=attributes.get("DeadLetterQueueSourceArn"),
    )
    values = sorted((message.message_attributes or {}).items())
    text = readable(
        heading, (f"{name} = {_value(attribute)}" for name, attribute in values), message.body
    )
    return text.append_text(_records(message))


def readable_heading(
    message_id: str,
    *,
    sent_at_ms: int | None,
    receive_count: int,
    state: str | None = None,
    group_id: str | None,
    source_arn: str | None,
) -> str:
    """The line about a message."""
    parts = [message_id]
    if sent_at_ms is not None:
        parts.append(f"sent {datetime.fromtimestamp(sent_at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC")
    if receive_count == 0:
        parts.append("never received")
    else:
        parts.append("received once" if receive_count == 1 else f"received {receive_count} times")
    if state is not None:
        parts.append(state)
    if group_id is not None:
        parts.append(f"group {group_id}")
    if source_arn is not None:
        parts.append(f"from {short_name(source_arn)}")
    return ", ".join(parts)


def readable(heading: str, attributes: Iterable[str], body: str) -> Text:
    """A heading, and what is below it."""
    lines = [Text(heading, style="bold")]
    lines += (Text(f"  {attribute}", style="cyan") for attribute in attributes)
    lines += (Text("  ").append_text(line) for line in _body(body).split("\n"))
    return Text("\n").join([*lines, Text()])


def _records(message: Message) -> Text:
    attribute = (message.message_attributes or {}).get(PACK_ATTRIBUTE)
    if attribute is None or attribute.binary_value is None:
        return Text()
    try:
        opened = open_pack(message.body, attribute.binary_value)
    except PackError as error:
        return Text(f"  {error}\n", style="red")
    events = opened.header.events
    shown = opened.lines.split(b"\n", _RECORDS_SHOWN)[:_RECORDS_SHOWN]
    lines = [f"  {line.decode(errors='replace')}" for line in shown]
    if events > len(shown):
        lines.append(f"  and {events - len(shown):,} more records")
    return Text("\n").join(Text(line) for line in [*lines, ""])


def _value(attribute: MessageAttributeValue) -> str:
    if attribute.binary_value is not None:
        return f"{len(attribute.binary_value):,} bytes"
    return attribute.string_value or ""


def _body(body: str) -> Text:
    """The body, laid out when it is a JSON object or list and as it is otherwise."""
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return Text(body)
    if not isinstance(decoded, dict | list):
        return Text(body)
    return JSONHighlighter()(msgspec.json.format(body, indent=2))
