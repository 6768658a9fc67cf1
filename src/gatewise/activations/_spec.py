"""What is known about one activation or gate: plain data and plain functions, checked by the contract tests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from math import isnan
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
Kind = Literal["scalar", "gate"]
# The end of a range that reaches to the largest finite number of every dtype up to float32.
MAX = 2.0**128 * (1 - 2.0**-24)


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where a function comes from. `arxiv` is None for work that is not on arXiv; `source` then says where it is."""

    author: str
    year: int
    title: str
    arxiv: str | None = None
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The largest error that is allowed, against the float64 reference.

    Where the (gate) input is at least `start`, the error is counted in units in the last place of the reference, in
    the dtype under test. Below `start` it is absolute; for a gate, for each unit of what multiplies the activation.
    `start=-inf` says that the relative error is bounded everywhere, `start=inf` that it is nowhere. An error below the
    smallest normal number, 2^-126, is forgiven: some machines flush such results to zero.

    Both figures come from measurement. A test fails when the largest error seen is above them, and when they are more
    than four times what was seen. Where one instruction set is that much less accurate than another, `tight_on` names
    it (as `torch.backends.cpu.get_cpu_capability` does) and the second half of the test runs there alone.
    """

    ulp: float = 0.0
    start: float = float("-inf")
    absolute: float = 0.0
    tight_on: str | None = None


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The error budget of the stock torch code in one dtype.

    For a gate `gradient` is that of the gate input; the gradient of the other input is the activation itself and
    falls under `value`.
    """

    value: Bound
    gradient: Bound


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """Inputs where the stock torch code is known to give something else than the reference, in float32 and bfloat16.

    Attributes:
        what: `value` or `gradient`.
        low, high: the (gate) inputs from low to high; both NaN for a NaN input.
        torch: what it gives instead, exactly (rounded to the dtype).
        always: False where that depends on the code path (on the instruction set, on whether the tensor is contiguous
            and has more than one element), and some paths are right.
        up: for a gate, the other input with which this is seen; what is seen with 1 is seen with others too.
    """

    what: Literal["value", "gradient"]
    low: float
    high: float
    torch: float
    always: bool = True
    up: float = 1.0

    def covers(self, x: Array) -> NDArray[np.bool_]:
        """True where an input of `x` falls under this deviation."""
        if isnan(self.low):
            return np.isnan(x)
        return (x >= self.low) & (x <= self.high)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One activation or gate.

    Attributes:
        name: the name in the table.
        kind: `scalar` for f(x), `gate` for act(gate) * up.
        formula: the definition.
        paper: who introduced it.
        implementation: which stock torch code `torch` runs.
        reference: float64 arrays to float64, right in the tails and at +-inf; a gate takes (gate, up).
        derivative: the derivative in float64, one array; for a gate a pair, by gate and by up. At a kink it is the
            value that torch's autograd uses.
        stock: where the stock torch function is, as "module:function" (with a dot in front: of this package), so that
            the rest of a spec needs no torch; or the function itself.
        minimum: (x, value) of the smallest value where one is reached, else None; always None for a gate.
        lipschitz: sup |f'|, for a gate of the Euclidean norm of its gradient; inf when unbounded.
        curvature: sup |f''|; inf where f' jumps; None for a gate.
        kinks: where f' jumps or f'' jumps.
        budgets: dtype name to error budget of `torch`.
        deviations: where `torch` is known not to give the limit.
        num_matrices: weight matrices of a feed-forward block with it, 2 or 3.
        act: for a gate, the scalar function applied to the gate input.
    """

    name: str
    kind: Kind
    formula: str
    paper: Paper
    implementation: str
    reference: Callable[..., Array] = field(repr=False)
    derivative: Callable[..., Any] = field(repr=False)
    stock: "str | Callable[..., Tensor]" = field(repr=False)
    minimum: tuple[float, float] | None
    lipschitz: float
    curvature: float | None
    kinks: tuple[float, ...] = ()
    budgets: Mapping[str, Budget] = field(repr=False)
    deviations: tuple[Deviation, ...] = field(default=(), repr=False)
    act: str | None = None

    @cached_property
    def torch(self) -> "Callable[..., Tensor]":
        """The stock torch function, on tensors of any floating dtype and shape; a gate takes (gate, up)."""
        if not isinstance(self.stock, str):
            return self.stock
        module, _, name = self.stock.partition(":")
        function: Callable[..., Tensor] = getattr(import_module(module, __package__), name)
        return function

    @property
    def num_matrices(self) -> int:
        """Weight matrices of a feed-forward block: 2 for a scalar function, 3 for a gate."""
        return 3 if self.kind == "gate" else 2

    def gradients(self, *inputs: Array) -> tuple[Array, ...]:
        """The derivative by each input, always as a tuple: one array for a scalar function, two for a gate."""
        found: Any = self.derivative(*inputs)
        return found if self.kind == "gate" else (found,)
