"""Environments of foreign clients: each has its own, made from its own lock file."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]


def python_environment(name: str) -> Path:
    """The bin directory of a virtual environment with what `tests/clients/NAME` locks.

    It is made once and again when the lock file changes.
    """
    lock = Path(__file__).parent / name / "requirements.lock"
    digest = sha256(lock.read_bytes()).hexdigest()
    environment = ROOT / f".venv-{name}"
    stamp = environment / "lock.sha256"
    if not stamp.exists() or stamp.read_text() != digest:
        run(sys.executable, "-m", "venv", "--clear", str(environment))
        pip = str(environment / "bin" / "pip")
        run(pip, "install", "--quiet", "--require-hashes", "-r", str(lock))
        stamp.write_text(digest)
    return environment / "bin"


def run(*command: str) -> None:
    """Run a command that has to succeed; show what it printed when it does not."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
