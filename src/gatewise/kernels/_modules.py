"""The table's functions as modules that run the native kernels: what `use` puts in the place of stock modules.

A call that the kernels are not made for (another device or dtype) runs the stock torch code, as `functional` does;
`path` says which. Weights, names and state dicts are those of the stock modules.
"""

from collections.abc import Callable

from torch import Tensor, nn

from gatewise import activations
from gatewise.core import GatewiseError

from ._functions import FUNCTIONS
from ._linear_function import check, check_alike, check_compiled

WAS = "_was"
"""Where a module of ours without parameters keeps the one in whose place it was put."""


def _function(name: str) -> Callable[..., Tensor]:
    if name not in FUNCTIONS:
        kind = activations.get(name).kind
        valid = ", ".join(each for each in FUNCTIONS if activations.get(each).kind == kind)
        raise GatewiseError(f"{name} has no kernel\nvalid: {valid}")
    return FUNCTIONS[name]


class Activation(activations.Activation):
    """A scalar activation by its native kernel: elementwise, any floating tensor to one of its shape and dtype.

    Raises `GatewiseError` for an unknown name, the name of a gate, and a function without a kernel.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._function = _function(self.name)

    def __prepare_scriptable__(self) -> nn.Module:
        """What torch.jit.script compiles in its place: the module that `use` found here, where there was one."""
        was: nn.Module = vars(self).get(WAS, self)
        return was


class GatedUnit(activations.GatedUnit):
    """act(x Wg) * (x Wu) whose gate is one native pass over both projections: x[..., dim] to [..., hidden].

    Raises what `activations.GatedUnit` raises, and `GatewiseError` for a gate without a kernel and for an x that is no
    tensor of `dim` columns.
    """

    def __init__(self, dim: int, hidden: int, name: str, bias: bool = False) -> None:
        super().__init__(dim, hidden, name, bias)
        self._function = _function(self.name)

    @classmethod
    def of(cls, unit: activations.GatedUnit) -> "GatedUnit":
        """The unit around the same two projections: the modules themselves, not copies.

        Raises `GatewiseError` for anything but an `activations.GatedUnit` itself or one of these.
        """
        if type(unit) is not activations.GatedUnit and type(unit) is not cls:
            raise GatewiseError(
                f"GatedUnit.of takes an activations.GatedUnit itself, not {type(unit).__name__}, which may differ"
            )
        found = cls.__new__(cls)
        nn.Module.__init__(found)
        found.name, found.gate, found.up = unit.name, unit.gate, unit.up
        found._function = _function(unit.name)
        return found.train(unit.training)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate
        check("GatedUnit", x, getattr(gate, "in_features", None))  # a layer of somebody's own takes what it takes
        if isinstance(gate, nn.Linear):  # pyright: ignore[reportUnnecessaryIsInstance]
            check_compiled("GatedUnit", x, gate.weight)
        try:
            return super().forward(x)
        except RuntimeError:
            if isinstance(gate, nn.Linear):  # pyright: ignore[reportUnnecessaryIsInstance]
                check_alike("GatedUnit", x, gate.weight)
            raise
