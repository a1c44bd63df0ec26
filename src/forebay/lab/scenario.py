"""What a scenario is: a claim about queues, and how it is shown."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from inspect import getdoc
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

from forebay.apps.verdicts import Verdict
from forebay.broker.bootstrap import DeclaredQueue
from forebay.broker.journal.base import Durability
from forebay.fault_injection import FaultRates
from forebay.protocol.identifiers import FIFO_SUFFIX

if TYPE_CHECKING:
    from forebay.lab.ledger import Ledger
    from forebay.lab.stage import Stage

#: What the names of the lab's queues begin with. Source: variable project_name of document 001.
PROJECT = "sqs-demo"

#: How long dead letters are kept, in seconds: as long as SQS keeps anything.
_DEAD_LETTERS_KEPT_S = 1_209_600


class Speed(StrEnum):
    """How long a scenario takes on the lab's own broker."""

    #: Seconds.
    FAST = "fast"
    #: Up to a minute.
    SLOW = "slow"


class LabQueue(Struct, frozen=True, kw_only=True):
    """A queue of a scenario, with its dead-letter queue.

    The defaults are those of document 001.
    """

    #: What tells it from the scenario's other queues; empty for the main one.
    name: str = ""
    fifo: bool = False
    visibility_s: int = 10
    wait_s: int = 10
    #: Receives after which a message goes to the dead-letter queue, if there is one.
    max_receive_count: int = 2
    dead_letters: bool = True
    #: Other attributes, by SQS's names.
    attributes: Mapping[str, str] = {}

    def declared(self, scenario: str, project: str = PROJECT) -> list[DeclaredQueue]:
        """It and its dead-letter queue, as they are to be created."""
        attributes = {
            "VisibilityTimeout": str(self.visibility_s),
            "ReceiveMessageWaitTimeSeconds": str(self.wait_s),
            **self.attributes,
        }
        dead = {"MessageRetentionPeriod": str(_DEAD_LETTERS_KEPT_S)}
        if self.fifo:
            attributes = {"ContentBasedDeduplication": "true", **attributes, "FifoQueue": "true"}
            dead["FifoQueue"] = "true"
        name, dead_name = self.full_name(scenario, project), self.dead_name(scenario, project)
        if dead_name is None:
            return [DeclaredQueue(name, attributes)]
        return [
            DeclaredQueue(
                name,
                attributes,
                dead_letter_queue=dead_name,
                max_receive_count=self.max_receive_count,
            ),
            DeclaredQueue(dead_name, dead),
        ]

    def full_name(self, scenario: str, project: str = PROJECT) -> str:
        """Its name at SQS."""
        return self._named(scenario, project, "queue")

    def dead_name(self, scenario: str, project: str = PROJECT) -> str | None:
        """The name of its dead-letter queue."""
        return self._named(scenario, project, "dlq") if self.dead_letters else None

    def _named(self, scenario: str, project: str, kind: str) -> str:
        parts = [project, scenario, *([self.name] if self.name else []), kind]
        return "-".join(parts) + (FIFO_SUFFIX if self.fifo else "")


class Protection(Struct, frozen=True):
    """What keeps a claim true, and can be switched off to see that it does."""

    #: What it is, and what is done without it.
    text: str
    #: The invariant that is broken without it: the one of a verdict of the scenario.
    breaks: str
    #: What the broken verdict's detail says then: a regular expression.
    because: str = ""


class BrokerSettings(Struct, frozen=True, kw_only=True):
    """What a scenario wants of the lab's own broker."""

    #: What the broker does to its clients. The seed is the run's.
    faults: FaultRates | None = None
    durability: Durability = Durability.OS


class ScenarioOptions(Struct, frozen=True, kw_only=True):
    """What can be set about a scenario: each field is an option of its name.

    Annotate a field with msgspec.Meta: its description is the option's help, and its bounds are
    checked.
    """

    def check(self) -> None:
        """Raise SettingsError, which names the options, for values that do not go together."""


class Scenario(ABC):
    """A claim about queues: a setup, a fault that strikes, and a verdict from an exact ledger.

    A scenario is the class in its file. Its name is the file's, with hyphens; the first line of its
    docstring is its title.
    """

    speed: ClassVar[Speed] = Speed.FAST
    #: What is true of a program that does it right, whatever goes wrong. One sentence.
    claim: ClassVar[str]
    queues: ClassVar[Sequence[LabQueue]] = (LabQueue(),)
    #: By name.
    protections: ClassVar[Mapping[str, Protection]]
    Options: ClassVar[type[ScenarioOptions]] = ScenarioOptions
    #: Why it can run on the lab's own broker only. Empty when it can run on any SQS.
    own_broker_only: ClassVar[str] = ""

    def __init__(self, options: Any, without: frozenset[str] = frozenset()) -> None:
        self.options = options
        self.without = without

    @classmethod
    def name(cls) -> str:
        """As commands have it."""
        return cls.__module__.rpartition(".")[2].replace("_", "-")

    @classmethod
    def title(cls) -> str:
        return (getdoc(cls) or "").partition("\n")[0]

    def on(self, protection: str) -> bool:
        """Whether a protection is on, as it is unless the run is to go without it."""
        assert protection in self.protections, protection
        return protection not in self.without

    def wanted_queues(self) -> Sequence[LabQueue]:
        """The queues of this run. Another answer than `queues` is for runs without a protection."""
        return self.queues

    def broker(self) -> BrokerSettings:
        """What the lab's own broker is to be like."""
        return BrokerSettings()

    @abstractmethod
    async def setup(self, stage: Stage) -> None:
        """Bring everything to where the fault can strike."""

    @abstractmethod
    async def fault(self, stage: Stage) -> None:
        """Let it strike, and wait until all has come to rest."""

    @abstractmethod
    def verdict(self, ledger: Ledger) -> Iterable[Verdict]:
        """What must be true at the end, and whether it is."""


def option_name(field: str) -> str:
    """The option of a field, with its dashes."""
    return "--" + re.sub("_", "-", field)
