"""Patterns with `*` for any characters and `?` for any one, as IAM has them."""

from __future__ import annotations

import fnmatch
import re
from functools import lru_cache


@lru_cache(maxsize=1024)
def wildcard(pattern: str) -> re.Pattern[str]:
    """What `fullmatch`es the pattern, in a time that no pattern can make explode."""
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]")))
