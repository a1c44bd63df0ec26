"""How many pollers and processors a worker has: two policies behind one protocol."""

from forebay.worker.scaling.base import Load, Pool, ScalingInput, ScalingPolicy, Target
from forebay.worker.scaling.document_002 import Document002
from forebay.worker.scaling.littles_law import LittlesLaw
from forebay.worker.scaling.rates import Rate

__all__ = [
    "Document002",
    "LittlesLaw",
    "Load",
    "Pool",
    "Rate",
    "ScalingInput",
    "ScalingPolicy",
    "Target",
]
