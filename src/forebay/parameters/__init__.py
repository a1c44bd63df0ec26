"""Parameters that are changed while programs run: their schema, where they are kept, who follows.

What Forebay's own producers and workers can be told is in `forebay.tunables`.
"""

from forebay.parameters.address import open_store
from forebay.parameters.live import POLL_S, LiveParameters
from forebay.parameters.memory import MemoryParameterStore
from forebay.parameters.profiles import Profile, ProfileError, Profiles, load_profiles
from forebay.parameters.schema import (
    BadValue,
    InOrder,
    Parameter,
    Schema,
    UnknownParameter,
    Value,
)
from forebay.parameters.store import (
    Change,
    ParameterStore,
    ParameterStoreError,
    ParameterStoreTooNew,
    StoredValue,
)

__all__ = [
    "POLL_S",
    "BadValue",
    "Change",
    "InOrder",
    "LiveParameters",
    "MemoryParameterStore",
    "Parameter",
    "ParameterStore",
    "ParameterStoreError",
    "ParameterStoreTooNew",
    "Profile",
    "ProfileError",
    "Profiles",
    "Schema",
    "StoredValue",
    "UnknownParameter",
    "Value",
    "load_profiles",
    "open_store",
]
