"""What is checked of a machine before the lab is used on it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from forebay.lab import extra
from forebay.lab.infrastructure.preflight import (
    Tool,
    check_aws,
    check_directory,
    check_extra,
    check_port,
    check_python,
)


@pytest.mark.parametrize(
    ("version", "here"),
    [((3, 10, 14), False), ((3, 11, 0), True), ((3, 14, 1), True), ((4, 0, 0), True)],
)
def test_an_old_python_is_not_enough(version: tuple[int, int, int], here: bool) -> None:
    tool = check_python(version)
    assert (tool.here, tool.stops) == (here, not here)
    assert "make PYTHON=" in tool.advice


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_extra().here
    monkeypatch.setattr(extra, "EXTRA", ("starlette", "no_such_library"))
    tool = check_extra()
    assert (tool.stops, tool.found) == (True, "without no_such_library")
    assert "make venv" in tool.advice


def test_a_port_is_free_or_taken_or_the_labs_own() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert check_port("127.0.0.1", port, None).stops
        assert check_port("127.0.0.1", port, "http://127.0.0.1:1").stops
        assert check_port("127.0.0.1", port, f"http://127.0.0.1:{port}").here
    assert check_port("127.0.0.1", port, None).here


def test_a_directory_is_looked_at_and_not_made(tmp_path: Path) -> None:
    assert check_directory(tmp_path / "a" / "b").here
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    assert check_directory(tmp_path / "file" / "b").stops
    assert check_directory(tmp_path / "file").stops


def test_without_terraform_the_lab_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    terraform = tmp_path / "terraform"
    terraform.touch(mode=0o755)
    for path, here in ((str(tmp_path), True), ("/nowhere", False), ("", False)):
        tools = {tool.name: tool for tool in check_aws({"AWS_REGION": "r", "PATH": path})}
        assert tools["terraform"].here is here
        assert not any(tool.stops for tool in tools.values())


def test_a_profile_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    credentials: Tool = check_aws({})[0]
    assert credentials.stops
    assert "no-such-profile" in credentials.found
