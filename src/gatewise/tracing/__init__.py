"""A live PyTorch model as a graph of operations: run once, every operation recorded, no export needed."""

from ._record import Watch as Watch
from ._trace import Trace as Trace
from ._trace import observe as observe
from ._trace import trace as trace
