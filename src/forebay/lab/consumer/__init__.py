"""The consumer of document 001: every way in which a consumer may fail is a variable of it."""

from forebay.lab.consumer.consumer import Consumed, consume
from forebay.lab.consumer.crashes import CRASH_EXIT_CODE
from forebay.lab.consumer.protections import PROTECTIONS
from forebay.lab.consumer.settings import ConsumerSettings, read_settings
from forebay.lab.consumer.steps import Note, Step, StepKind
from forebay.lab.consumer.variables import VARIABLES, Variable

__all__ = [
    "CRASH_EXIT_CODE",
    "PROTECTIONS",
    "VARIABLES",
    "Consumed",
    "ConsumerSettings",
    "Note",
    "Step",
    "StepKind",
    "Variable",
    "consume",
    "read_settings",
]
