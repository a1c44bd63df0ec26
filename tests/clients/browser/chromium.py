"""A Chromium of the system's, installed by its package manager where that can be done."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.clients.environments import PATIENCE_S

_NAMES = ("chromium", "chromium-browser", "google-chrome")

_APT = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}


def find_or_install() -> Path | str:
    """The browser, or why there is none."""
    found = _find()
    if found is not None:
        return found
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return "there is no Chromium, and installing it takes apt-get and root"
    print("Installing Chromium: apt-get install chromium ...")
    for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        done = subprocess.run(
            ["apt-get", "-qq", *command],
            env=_APT,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        if done.returncode != 0:
            return f"apt-get {command[0]} failed: {done.stderr.strip()[-300:]}"
    return _find() or "apt-get installed chromium, and there is none"


def _find() -> Path | None:
    paths = (shutil.which(name) for name in _NAMES)
    return next((Path(path) for path in paths if path is not None), None)
