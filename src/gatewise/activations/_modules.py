"""The table's functions as modules."""

from torch import Tensor, nn

from gatewise.core import GatewiseError

from ._matching import check_size
from ._spec import Spec
from ._table import get, names


def scalar_spec(name: str) -> Spec:
    """The spec of a scalar function. Raises `GatewiseError` for an unknown name and for a gate."""
    spec = get(name)
    if spec.kind != "scalar":
        raise GatewiseError(f"{name!r} is a gate with two inputs, not a scalar activation\nvalid: {_list('scalar')}")
    return spec


def gate_spec(name: str) -> Spec:
    """The spec of a gate. Raises `GatewiseError` for an unknown name and for a scalar function."""
    spec = get(name)
    if spec.kind != "gate":
        raise GatewiseError(f"{name!r} is a scalar activation, not a gate\nvalid: {_list('gate')}")
    return spec


def _list(kind: str) -> str:
    return ", ".join(names("gate" if kind == "gate" else "scalar"))


class Activation(nn.Module):
    """A scalar activation, elementwise: any floating tensor to one of its shape and dtype, by the stock torch code.

    Raises `GatewiseError` for an unknown name and for the name of a gate.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        spec = scalar_spec(name)
        self.name = spec.name
        self._function = spec.torch

    def forward(self, x: Tensor) -> Tensor:
        return self._function(x)

    def extra_repr(self) -> str:
        return repr(self.name)


class GatedUnit(nn.Module):
    """act(x Wg) * (x Wu): x[..., dim] to [..., hidden].

    `gate` and `up` are the two `nn.Linear`, initialised as torch does by default. Raises `GatewiseError` for an
    unknown name, the name of a scalar function, and a size that is not a positive whole number.
    """

    def __init__(self, dim: int, hidden: int, name: str, bias: bool = False) -> None:
        super().__init__()
        spec = gate_spec(name)
        self.name = spec.name
        self.gate = nn.Linear(check_size("dim", dim), check_size("hidden", hidden), bias=bias)
        self.up = nn.Linear(dim, hidden, bias=bias)
        self._function = spec.torch

    def forward(self, x: Tensor) -> Tensor:
        return self._function(self.gate(x), self.up(x))

    def extra_repr(self) -> str:
        return repr(self.name)
