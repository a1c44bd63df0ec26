"""What a handler of packs gets, and what becomes of packs that no handler can take."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import encode

import forebay
from forebay import Pack, Received, Record, Reject, Router
from forebay.errors import SettingsError
from forebay.messages.packing import AT_MS_MAX
from forebay.worker.codecs import ENVELOPE, JSON, TEXT, Codec
from forebay.worker.packs import BadRecord
from tests.runtime.usage_records import usage_records
from tests.runtime.worker_messages import envelope, lease, pack_lease, sealed


class UsageLog(msgspec.Struct):
    asset: str
    response_time_us: int


LOGS = [
    b'[1790000000000,{"asset":"BTC-USD","response_time_us":140}]',
    b'[1790000000001,{"asset":"ETH-USD","response_time_us":90},"order-7"]',
]


def packs_router(payload_type: Any = UsageLog, *, codec: Codec | None = None) -> Router:
    router = Router(codec=codec)

    @router.handler("usage_log", Pack[payload_type])
    async def write(received: Received[Pack[Any]]) -> None: ...

    return router


def opened(records: list[bytes], payload_type: Any = UsageLog) -> Pack[Any]:
    received = packs_router(payload_type).route(pack_lease(sealed(records))).received
    pack: Pack[Any] = received.payload
    return pack


def refusal(router: Router, message: Any) -> str:
    with pytest.raises(Reject) as caught:
        router.route(message)
    return str(caught.value)


def test_a_handler_gets_a_pack_with_its_records() -> None:
    routed = packs_router().route(pack_lease(sealed(LOGS)))
    received, pack = routed.received, routed.received.payload
    assert routed.route.payload_type_name == "Pack[UsageLog]"
    assert (received.id, received.type, received.key) == ("p-1", "usage_log", None)
    assert received.envelope is None
    assert (pack.id, pack.type, pack.node) == ("p-1", "usage_log", "api-1")
    assert (pack.sealed, pack.events, pack.bad) == (True, 2, [])
    assert pack.records == [
        Record(0, 1790000000000, UsageLog("BTC-USD", 140), None, "p-1"),
        Record(1, 1790000000001, UsageLog("ETH-USD", 90), "order-7", "p-1"),
    ]
    assert [record.id for record in pack.records] == ["p-1-0", "p-1-1"]
    assert repr(pack) == "<Pack 'p-1' of 2 'usage_log' from 'api-1'>"


def test_the_records_are_kept_unless_they_are_only_read() -> None:
    pack = opened([*LOGS, b"nonsense"])
    records, bad = pack.read()
    assert (pack.records, pack.bad) == (records, bad)
    assert pack.records is pack.records
    assert pack.records is not records


def test_a_plain_envelope_is_a_pack_of_one() -> None:
    body = envelope("usage_log", {"asset": "A", "response_time_us": 1}, identifier="e-7", key="k")
    received = packs_router().route(lease(body=body)).received
    pack = received.payload
    assert (received.id, received.key) == ("e-7", "k")
    assert (pack.id, pack.type, pack.node) == ("e-7", "usage_log", "api-1")
    assert (pack.sealed, pack.events, pack.bad) == (False, 1, [])
    (record,) = pack.records
    assert (record.index, record.id, record.key) == (0, "e-7", "k")
    assert record.at_ms == 1795335960123
    assert record.payload == UsageLog("A", 1)


def test_a_plain_envelope_that_does_not_fit_is_a_bad_record() -> None:
    body = envelope("usage_log", {"asset": 5})
    pack = packs_router().route(lease(body=body)).received.payload
    assert (pack.events, pack.records) == (1, [])
    (bad,) = pack.bad
    assert (bad.index, bad.at_ms, bad.json) == (0, 1795335960123, body.encode())
    assert "$.asset" in bad.reason


@pytest.mark.parametrize("timestamp", ["", "yesterday", "1969-12-31T23:59:59Z", "12"])
def test_a_plain_envelope_without_a_time_is_a_bad_record(timestamp: str) -> None:
    body = json.loads(envelope("usage_log", {"asset": "A", "response_time_us": 1}))
    text = json.dumps(body | {"timestamp": timestamp})
    pack = packs_router().route(lease(body=text)).received.payload
    (bad,) = pack.bad
    assert bad.at_ms is None
    assert repr(timestamp) in bad.reason


BAD_LINES = [
    (b'[1790000000000,{"asset":"A"}]', 1790000000000, "response_time_us"),
    (b'[1790000000000,{"asset":7,"response_time_us":1}]', 1790000000000, "$.asset"),
    (b'[1790000000000,{"asset":"A","response_time_us":NaN}]', None, "malformed"),
    (b'[1790000000000,{"asset":"A","response_time_us":1e400}]', 1790000000000, "response_time_us"),
    (b'[1790000000000,{"asset":"A","response_time_us":1},""]', 1790000000000, "length >= 1"),
    (b'[1790000000000,{"asset":"A","response_time_us":1},7]', 1790000000000, "$[2]"),
    (b'[1790000000000,{"asset":"A","response_time_us":1},"k",1]', 1790000000000, "length"),
    (b"[1790000000000]", 1790000000000, "length"),
    (b'[-1,{"asset":"A","response_time_us":1}]', None, ">= 0"),
    (b'["now",{"asset":"A","response_time_us":1}]', None, "$[0]"),
    (b'[1.5,{"asset":"A","response_time_us":1}]', None, "$[0]"),
    (b'[null,{"asset":"A","response_time_us":1}]', None, "$[0]"),
    (b'[%d,{"asset":"A","response_time_us":1}]' % (AT_MS_MAX + 1), None, "<="),
    (b'[%d,{"asset":"A","response_time_us":1}]' % 10**40, None, "$[0]"),
    (b"[]", None, "length"),
    (b"", None, "truncated"),
    (b"{}", None, "object"),
    (b"nonsense", None, "malformed"),
    (b"[1790000000000," + b"[" * 5_000 + b"]" * 5_001, None, "ecursion"),
    (b'[1790000000000,{"asset":"\xff","response_time_us":1}]', 1790000000000, "utf-8"),
    (b'[1790000000000,{"asset":"\\ud800","response_time_us":1}]', None, "malformed"),
]


@pytest.mark.parametrize(("line", "at_ms", "reason"), BAD_LINES, ids=lambda value: str(value)[:40])
def test_a_record_that_does_not_fit_is_bad_and_the_others_are_not(
    line: bytes, at_ms: int | None, reason: str
) -> None:
    pack = opened([LOGS[0], line, LOGS[1]])
    assert pack.events == 3
    assert [record.index for record in pack.records] == [0, 2]
    assert [record.id for record in pack.records] == ["p-1-0", "p-1-2"]
    (bad,) = pack.bad
    assert (bad.index, bad.json) == (1, line)
    assert bad.at_ms == at_ms
    assert reason in bad.reason


@dataclass
class CheckedLog:
    asset: str
    response_time_us: int

    def __post_init__(self) -> None:
        if self.response_time_us > 100:
            raise RuntimeError("slow")


class ModelLog(pydantic.BaseModel):
    asset: str
    response_time_us: int = pydantic.Field(le=100)


@pytest.mark.parametrize(
    ("payload_type", "reason"),
    [(CheckedLog, "RuntimeError('slow')"), (ModelLog, "less than or equal to 100")],
)
def test_the_checks_of_a_type_of_its_own_hold_for_each_record(
    payload_type: Any, reason: str
) -> None:
    pack = opened(LOGS, payload_type)
    assert [record.payload for record in pack.records] == [
        payload_type(asset="ETH-USD", response_time_us=90)
    ]
    assert pack.records[0].key == "order-7"
    (bad,) = pack.bad
    assert bad.index == 0
    assert reason in bad.reason


@pytest.mark.parametrize("payload_type", [Any, dict, dict[str, str | int], msgspec.Raw])
def test_any_type_that_a_payload_may_have_is_one_that_a_record_may_have(payload_type: Any) -> None:
    pack = opened(LOGS, payload_type)
    assert [record.index for record in pack.records] == [0, 1]
    raw = isinstance(pack.records[0].payload, msgspec.Raw)
    payload = msgspec.json.decode(pack.records[0].payload) if raw else pack.records[0].payload
    assert payload == {"asset": "BTC-USD", "response_time_us": 140}


def test_pack_alone_takes_payloads_of_any_type() -> None:
    router = Router()

    @router.handler("usage_log", Pack)
    async def write(received: Received[Pack[Any]]) -> None: ...

    pack = router.route(pack_lease(sealed([b"[5,[1,2]]"]))).received.payload
    assert pack.records[0].payload == [1, 2]


def test_a_type_that_no_json_fits_is_refused_when_the_handler_is_registered() -> None:
    with pytest.raises(SettingsError, match="complex cannot be read from JSON"):
        packs_router(complex)


def test_plain_json_comes_in_no_pack() -> None:
    with pytest.raises(SettingsError, match="Plain JSON comes in no pack"):
        Router().raw(Pack[UsageLog])


def test_every_takes_packs_of_types_without_a_handler_and_no_plain_json() -> None:
    router = Router()

    @router.every(Pack[UsageLog])
    async def write(received: Received[Pack[UsageLog]]) -> None: ...

    assert router.route(pack_lease(sealed(LOGS, "seldom"))).received.payload.type == "seldom"
    plain = envelope("other", {"asset": "A", "response_time_us": 1})
    assert router.route(lease(body=plain)).received.payload.type == "other"
    assert "JSON and not an envelope" in refusal(router, lease(body='{"asset":"A"}'))


def test_a_pack_for_a_plain_handler_says_how_to_register_it() -> None:
    router = Router()

    @router.handler("usage_log", UsageLog)
    async def write(received: Received[UsageLog]) -> None: ...

    message = refusal(router, pack_lease(sealed(LOGS)))
    assert "a pack of 2 'usage_log' envelopes" in message
    assert re.search(r"Register .*write with Pack\[UsageLog\]", message)


def test_no_other_handler_takes_a_pack_for_the_text_or_json_of_its_header() -> None:
    router = Router()

    @router.raw(str)
    async def raw(received: Received[str]) -> None: ...

    @router.default
    async def rest(received: Received[str]) -> None: ...

    whole = pack_lease(sealed(LOGS))
    assert "Register one with Pack[...]" in refusal(router, whole)
    damaged = pack_lease(msgspec.structs.replace(sealed(LOGS), content=b"damaged"))
    assert "damaged" in refusal(router, damaged)


@pytest.mark.parametrize("codec", [None, ENVELOPE])
def test_a_pack_that_cannot_be_unpacked_is_rejected(codec: Codec | None) -> None:
    pack = sealed(LOGS)
    for broken, reason in (
        (msgspec.structs.replace(pack, content=pack.content[:-1]), "damaged"),
        (msgspec.structs.replace(pack, body=b"{}"), "not the header of a pack"),
        (
            msgspec.structs.replace(pack, body=pack.body.replace(b'sion":1', b'sion":2')),
            "Update the reader",
        ),
    ):
        assert reason in refusal(packs_router(codec=codec), pack_lease(broken))


@pytest.mark.parametrize("codec", [JSON, TEXT])
def test_a_codec_that_takes_bodies_as_they_are_opens_no_pack(codec: Codec) -> None:
    router = Router(codec=codec)

    @router.default
    async def rest(received: Received[str]) -> None: ...

    pack = sealed(LOGS)
    assert router.route(pack_lease(pack)).received.payload == pack.body.decode()


def test_a_pack_that_came_through_sns_is_read_in_its_place() -> None:
    pack = sealed(LOGS)
    notification = {
        "Type": "Notification",
        "TopicArn": "arn:aws:sns:eu-west-1:000000000000:logs",
        "Message": pack.body.decode(),
        "MessageAttributes": {
            "forebay.pack": {"Type": "Binary", "Value": b64encode(pack.content).decode()}
        },
    }
    received = packs_router().route(lease(body=json.dumps(notification))).received
    assert received.payload.records == opened(LOGS).records
    assert received.attribute("forebay.pack") == pack.content


def test_five_thousand_records_come_as_they_were_sealed() -> None:
    lines = usage_records(5_000)
    pack = opened(lines, dict)
    assert pack.bad == []
    again = [
        encode((record.at_ms, record.payload))
        if record.key is None
        else encode((record.at_ms, record.payload, record.key))
        for record in pack.records
    ]
    assert again == lines


@given(
    st.lists(
        st.sampled_from([*LOGS, *(line for line, _, _ in BAD_LINES)])
        | st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")),
        min_size=1,
        max_size=12,
    )
)
def test_every_record_is_read_or_bad(lines: list[bytes]) -> None:
    lines = [*lines, LOGS[0]]
    pack = opened(lines)
    assert pack.events == len(lines)
    good = [record.index for record in pack.records]
    bad = [record.index for record in pack.bad]
    assert sorted(good + bad) == list(range(len(lines)))
    assert good == sorted(good)
    assert [bad_record.json for bad_record in pack.bad] == [lines[index] for index in bad]


def test_a_pack_can_be_made_by_hand() -> None:
    record = Record(0, 5, UsageLog("A", 1))
    bad = BadRecord(1, None, b"x", "no JSON")
    pack = Pack("p-1", "usage_log", "api-1", True, [record], [bad])
    assert (pack.events, pack.records, pack.bad) == (2, [record], [bad])


def test_the_names_are_public() -> None:
    assert (forebay.Pack, forebay.Record) == (Pack, Record)
