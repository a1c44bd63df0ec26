"""What Terraform does to a broker, command after command, while other tests run.

Its AWS provider watches each change for half a minute until it believes it, so Terraform mostly
waits. The story therefore runs on a thread from the session's first test on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tests.clients.peers import PeerFailed, configuration, kill, output_of, own_client

CONFIGURATION = Path(__file__).parent / "queues.tf"

#: The provider as a directory of Terraform plugins names it.
PROVIDER = "registry.terraform.io/hashicorp/aws"

#: How long one command may take, in seconds. Each level of dependent resources takes 25.
PATIENCE_S = 300


class Missing(NamedTuple):
    """Why the story cannot be played on this machine."""

    reason: str


class Tools(NamedTuple):
    """What the story needs."""

    terraform: Path
    mirror: Path


class Queue(NamedTuple):
    """A queue as the broker had it after a command."""

    attributes: dict[str, str]
    tags: dict[str, str]


class Outcome(NamedTuple):
    """What a command printed, and the queues by name after it."""

    output: str
    queues: dict[str, Queue]


def find_tools() -> Tools | Missing:
    """Terraform, and a local directory from which it can install the AWS provider."""
    terraform = shutil.which("terraform")
    if terraform is None:
        return Missing("there is no terraform on the PATH")
    mirrors = mirror_candidates()
    for mirror in mirrors:
        if (mirror / PROVIDER).is_dir():
            return Tools(Path(terraform), mirror)
    return Missing(
        f"no directory of Terraform plugins has {PROVIDER};"
        f" looked in {', '.join(map(str, mirrors))} (TF_PLUGIN_CACHE_DIR names another)"
    )


def mirror_candidates() -> list[Path]:
    """The directories that Terraform searches unasked, its cache, and those under /opt."""
    cache = os.environ.get("TF_PLUGIN_CACHE_DIR")
    return [
        *([Path(cache)] if cache else []),
        Path.home() / ".terraform.d/plugins",
        Path.home() / ".local/share/terraform/plugins",
        Path("/usr/local/share/terraform/plugins"),
        Path("/usr/share/terraform/plugins"),
        *(path.parents[2] for path in Path("/opt").glob(f"*/{PROVIDER}")),
    ]


class Story:
    """Commands that begin at once, one after the other, and their outcomes."""

    def __init__(self, tools: Tools, directory: Path, endpoint_url: str) -> None:
        self._tools = tools
        self._directory = directory
        self._endpoint_url = endpoint_url
        self._process: subprocess.Popen[str] | None = None
        self._failure: Exception | None = None
        self._thread = ThreadPoolExecutor(1, "terraform")
        shutil.copy(CONFIGURATION, directory)
        mirror = f'filesystem_mirror {{\n    path = "{tools.mirror}"\n  }}'
        (directory / "terraformrc").write_text(f"provider_installation {{\n  {mirror}\n}}\n")
        update = (
            *("-var", "visibility_timeout_seconds=90", "-var", "max_receive_count=5"),
            *("-var", 'tags={"team"="till","stage"="test"}', "-var", "restricted=false"),
        )
        self._outcomes: dict[str, Future[Outcome]] = {
            "init": self._then(self._terraform, "init"),
            "apply": self._then(self._terraform, "apply", "-auto-approve"),
            "second plan": self._then(self._terraform, "plan", "-detailed-exitcode"),
            "forget": self._then(self._terraform, "state", "rm", "aws_sqs_queue.dead"),
            "update": self._then(self._import, "apply", "-auto-approve", *update),
            "destroy": self._then(
                self._terraform, "destroy", "-auto-approve", "-refresh=false", *update
            ),
        }

    def outcome(self, command: str) -> Outcome:
        """What a command led to, once it has ended. Raises what it failed with, or one before."""
        return self._outcomes[command].result()

    def stop(self) -> None:
        """End the story wherever it is."""
        self._failure = PeerFailed("the tests have ended before the story")
        if self._process is not None:
            kill(self._process)
        self._thread.shutdown(cancel_futures=True)

    def _then(self, command: Callable[..., str], *arguments: str) -> Future[Outcome]:
        return self._thread.submit(self._play, command, arguments)

    def _play(self, command: Callable[..., str], arguments: tuple[str, ...]) -> Outcome:
        if self._failure is not None:
            raise self._failure
        try:
            return Outcome(command(*arguments), self._queues())
        except Exception as failure:
            self._failure = failure
            raise

    def _import(self, *arguments: str) -> str:
        """Declare the queue that the state has forgotten as one to import, and run the command."""
        url = f"{self._endpoint_url}/000000000000/jobs-dead"
        block = f'import {{\n  to = aws_sqs_queue.dead\n  id = "{url}"\n}}\n'
        (self._directory / "import.tf").write_text(block)
        return self._terraform(*arguments)

    def _terraform(self, *arguments: str) -> str:
        options = () if arguments[0] == "state" else ("-no-color", "-input=false")
        return output_of(
            self._tools.terraform,
            *arguments,
            *options,
            environment=configuration(self._endpoint_url)
            | {
                "HOME": str(self._directory),
                "TF_CLI_CONFIG_FILE": str(self._directory / "terraformrc"),
                "TF_VAR_endpoint_url": self._endpoint_url,
                "CHECKPOINT_DISABLE": "1",
            },
            directory=self._directory,
            patience_s=PATIENCE_S,
            started=self._remember,
        )

    def _remember(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _queues(self) -> dict[str, Queue]:
        sqs: Any = own_client(self._endpoint_url)
        queues: dict[str, Queue] = {}
        for url in sqs.list_queues().get("QueueUrls", []):
            read = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
            tags = sqs.list_queue_tags(QueueUrl=url).get("Tags", {})
            queues[url.rpartition("/")[2]] = Queue(read["Attributes"], tags)
        sqs.close()
        return queues
