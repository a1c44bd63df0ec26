"""The reader of packs that the page on their format shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs/reference/pack-format.md"


def shown_reader() -> Any:
    """The function, as a reader of the page would have it."""
    [block] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(block, names)
    return names["envelopes"]
