"""Settings by name."""

from __future__ import annotations

import pytest

from forebay.errors import SettingsError
from forebay.worker.profiles import profile
from forebay.worker.queue import HIGH, LOW, MEDIUM
from forebay.worker.scaling import Document002


def test_the_document_s_profile_has_its_numbers() -> None:
    document = profile("document-002")
    settings = document.settings
    assert [settings.buffer_capacity(each) for each in (HIGH, MEDIUM, LOW)] == [6_000, 5_000, 4_000]
    assert (settings.pollers_min, settings.pollers) == (5, 100)
    assert (settings.fewest_processors, settings.concurrency) == (10, 100)
    assert (settings.batch, settings.wait_s, settings.visibility_timeout_s) == (10, 20, 300)
    assert (settings.scale_interval_s, settings.attributes_interval_s) == (5.0, 1.0)
    assert document.scaling == Document002(threshold=0.7)


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="no worker profile 'fast'; there is document-002"):
        profile("fast")
