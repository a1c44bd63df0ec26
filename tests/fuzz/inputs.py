"""Inputs for the fuzzer: requests that are nearly right, and bytes that are not.

Most inputs are requests built from the structs of the protocol, member by member, with values that
are valid, on an edge, out of range, of the wrong type or missing. Queue URLs, receipt handles and
task handles that the broker gave out are used again, so that inputs get past the first check.
"""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec.inspect import DictType, Field, IntType, ListType, StructType, UnionType, type_info

from forebay.protocol.actions import ACTIONS

#: Values on the edges of SQS's ranges, and far beyond.
EDGE_NUMBERS = [-1, 0, 1, 9, 10, 11, 20, 21, 30, 59, 60, 900, 901, 43_200, 43_201, 2**31, 2**64]

EDGE_TEXTS = [
    "",
    "a",
    "All",
    "*",
    ".*",
    "true",
    "false",
    "é",
    "😀",
    "\x00",
    "\x0b",
    "\ufffe",
    "a b",
    "a" * 80,
    "a" * 81,
    "a" * 129,
    "x" * 2_000,
    "{}",
    '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:q1", "maxReceiveCount": 1}',
    "arn:aws:sqs:us-east-1:000000000000:q1",
    "%00%ff",
    "../../etc",
    "String",
    "Number",
    "Binary",
]

#: Names that occur in SQS as values: attributes of queues and of messages.
NAMES = [
    "VisibilityTimeout",
    "DelaySeconds",
    "FifoQueue",
    "ContentBasedDeduplication",
    "RedrivePolicy",
    "RedriveAllowPolicy",
    "Policy",
    "KmsMasterKeyId",
    "MessageRetentionPeriod",
    "MaximumMessageSize",
    "QueueArn",
    "SenderId",
    "AWSTraceHeader",
    "SequenceNumber",
]

#: How likely a member is there that need not be, but for which little can come of the request, and
#: one that makes nothing come of it.
LIKELY = {
    "MessageBody": 0.97,
    "ReceiptHandle": 0.97,
    "DataType": 0.97,
    "StringValue": 0.9,
    "BinaryValue": 0.1,
    "StringListValues": 0.02,
    "BinaryListValues": 0.02,
}

QUEUES = ["q1", "q2", "q3.fifo", "q4.fifo"]

_STRUCTS = {name: type_info(action.request_type) for name, action in ACTIONS.items()}


class Inputs:
    """An endless stream of inputs, the same for the same seed and the same answers."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._learned: dict[str, list[str]] = {"ReceiptHandle": [], "TaskHandle": []}

    def next(self) -> bytes:
        """One input: what a client might send on a fresh connection."""
        kind = self._random.random()
        if kind < 0.70:
            return self._request()
        if kind < 0.90:
            return self._mutated(self._request())
        if kind < 0.97:
            return self._query_request()
        return self._random.randbytes(self._random.randrange(1, 300))

    def learn(self, answer: dict[str, Any]) -> None:
        """Remember what the broker gave out, for later inputs."""
        for message in answer.get("Messages") or []:
            self._remember("ReceiptHandle", message.get("ReceiptHandle"))
        self._remember("TaskHandle", answer.get("TaskHandle"))

    def _remember(self, member: str, value: object) -> None:
        if isinstance(value, str):
            known = self._learned[member]
            known.append(value)
            del known[:-50]

    def _request(self) -> bytes:
        action = self._random.choice(list(ACTIONS))
        body = msgspec.json.encode(self._object(_STRUCTS[action]))
        return self._post(f"X-Amz-Target: AmazonSQS.{action}\r\n", body)

    def _query_request(self) -> bytes:
        action = self._random.choice([*ACTIONS, "Unknown", ""])
        parameters = {"Action": action}
        for _ in range(self._random.randrange(6)):
            name = self._random.choice(
                [
                    "QueueUrl",
                    "QueueName",
                    "MessageBody",
                    "Attribute.1.Name",
                    "Attribute.1.Value",
                    "ReceiptHandle",
                    "SendMessageBatchRequestEntry.1.Id",
                    "MaxNumberOfMessages",
                    "MessageAttribute.1.Value.BinaryValue",
                    "Tag.999999999.Key",
                    "Tags.1.Key",
                    "AttributeName",
                    "Attributes.entry.1.key",
                    "MessageAttributes.1.Name",
                    "Entries.member.1.MessageBody",
                ]
            )
            parameters[name] = self._random.choice(["", self._text(name)])
        form = urlencode(parameters, errors="replace").encode()
        if self._random.random() < 0.5:
            path = self._random.choice(["/", "/000000000000/q1", "/000000000000/q3.fifo"])
            return b"GET %b?%b HTTP/1.1\r\nHost: sqs.test\r\nAuthorization: x\r\n\r\n" % (
                path.encode(),
                form,
            )
        return self._post("Content-Type: application/x-www-form-urlencoded\r\n", form)

    def _post(self, headers: str, body: bytes) -> bytes:
        head = f"POST / HTTP/1.1\r\nHost: sqs.test\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def _mutated(self, request: bytes) -> bytes:
        """Flip, cut, double or insert some bytes."""
        mutated = bytearray(request)
        for _ in range(self._random.randrange(1, 6)):
            at = self._random.randrange(len(mutated) + 1)
            match self._random.randrange(4):
                case 0 if at < len(mutated):
                    mutated[at] ^= 1 << self._random.randrange(8)
                case 1:
                    del mutated[at : at + self._random.randrange(1, 20)]
                case 2:
                    mutated[at:at] = mutated[at : at + self._random.randrange(1, 50)]
                case _:
                    mutated[at:at] = self._random.randbytes(self._random.randrange(1, 8))
            if not mutated:
                return b"\r\n"
        return bytes(mutated)

    def _object(self, struct: msgspec.inspect.Type) -> dict[str, Any]:
        assert isinstance(struct, StructType)
        members = {}
        for field in struct.fields:
            usual = 0.97 if field.required else 0.4
            if self._random.random() < LIKELY.get(field.encode_name, usual):
                members[field.encode_name] = self._member(field)
        if self._random.random() < 0.02:
            members[self._text("")] = self._anything()
        return members

    def _member(self, field: Field) -> Any:
        if self._random.random() < 0.04:
            return self._anything()
        return self._value(field.encode_name, field.type)

    def _value(self, name: str, kind: msgspec.inspect.Type) -> Any:
        match kind:
            case UnionType(types=types):
                return self._value(name, types[0])
            case StructType():
                return self._object(kind)
            case ListType(item_type=item):
                count = self._random.choice([0, 1, 1, 2, 3, 10, 11])
                return [self._value(name, item) for _ in range(count)]
            case DictType(value_type=value):
                count = self._random.choice([0, 1, 1, 2, 11])
                keys = [self._text("Name") for _ in range(count)]
                return {key: self._value(key, value) for key in keys}
            case IntType():
                return self._random.choice(EDGE_NUMBERS)
            case _:
                return self._text(name)

    def _text(self, name: str) -> str:
        """A text for a member: mostly one that fits it."""
        if self._random.random() < 0.15:
            return self._random.choice(EDGE_TEXTS)
        queue = self._random.choice(QUEUES)
        fitting = {
            "QueueUrl": [f"http://sqs.test/000000000000/{queue}", queue],
            "QueueName": [queue],
            "SourceArn": [f"arn:aws:sqs:us-east-1:000000000000:{queue}"],
            "DestinationArn": [f"arn:aws:sqs:us-east-1:000000000000:{queue}"],
            "MessageGroupId": ["g1", "g2"],
            "MessageDeduplicationId": ["d1", "d2", str(self._random.random())],
            "Id": ["1", "2", "3"],
            "DataType": ["String", "String", "String.x", "Number", "Binary"],
            "BinaryValue": ["AAAA", "not base64"],
            "VisibilityTimeout": ["0", "30"],
            "DelaySeconds": ["0", "9"],
            "MessageRetentionPeriod": ["60", "345600"],
            "MaximumMessageSize": ["1024", "1048576"],
            "FifoQueue": ["true"],
            "ContentBasedDeduplication": ["true", "false"],
            **self._learned,
        }.get(name) or [*NAMES, str(self._random.choice(EDGE_NUMBERS))]
        return self._random.choice(fitting)

    def _anything(self) -> Any:
        return self._random.choice(
            [None, True, 0, -1, 1.5, 2**70, "", "x", [], {}, [[[]]], {"a": {"b": []}}]
        )
