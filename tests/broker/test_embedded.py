"""A broker inside another program."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from forebay.broker.embedded import EmbeddedBroker
from forebay.broker.journal.base import Durability
from forebay.errors import AddressInUse, Closed, DataDirectoryInUse, SettingsError


def health(broker: EmbeddedBroker) -> bytes:
    with urllib.request.urlopen(f"{broker.endpoint_url}/health") as answer:
        body: bytes = answer.read()
    return body


def test_it_listens_inside_the_block_and_not_after_it() -> None:
    with EmbeddedBroker() as broker:
        assert health(broker) == b'{"status":"ok","durability":"memory","alarms":[]}'
        url = broker.endpoint_url
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"{url}/health")
    with pytest.raises(Closed, match="Call start"):
        _ = broker.endpoint_url


def test_it_can_be_started_again() -> None:
    broker = EmbeddedBroker()
    for _ in range(2):
        broker.start()
        assert health(broker)
        broker.stop()
    broker.stop()


@pytest.mark.parametrize("durability", [None, Durability.FSYNC, Durability.OS])
def test_a_directory_makes_it_durable(tmp_path: Path, durability: Durability | None) -> None:
    with EmbeddedBroker(tmp_path, durability=durability) as broker:
        level = (durability or Durability.FSYNC).value
        assert health(broker) == f'{{"status":"ok","durability":"{level}","alarms":[]}}'.encode()


def test_a_taken_port_is_raised_where_it_was_started(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker:
        port = int(broker.endpoint_url.rpartition(":")[2])
        second = EmbeddedBroker(tmp_path, port=port)
        with pytest.raises(AddressInUse, match=f"Port {port} .*another port"):
            second.start()
    with EmbeddedBroker(tmp_path):
        pass


def test_a_directory_in_use_is_raised_where_it_was_started(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path), pytest.raises(DataDirectoryInUse):
        EmbeddedBroker(tmp_path).start()


def test_durability_and_directory_must_not_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs a data directory"):
        EmbeddedBroker(durability=Durability.FSYNC).start()
    with pytest.raises(SettingsError, match="keeps nothing"):
        EmbeddedBroker(tmp_path, durability=Durability.MEMORY).start()
