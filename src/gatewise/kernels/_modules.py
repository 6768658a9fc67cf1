"""The table's functions as modules that run the native kernels: what `use` puts in the place of stock modules.

A call that the kernels are not made for (another device or dtype) runs the stock torch code, as `functional` does;
`path` says which. Weights, names and state dicts are those of the stock modules.
"""

from torch import nn

from gatewise import activations

from ._functions import FUNCTIONS


class Activation(activations.Activation):
    """A scalar activation by its native kernel: elementwise, any floating tensor to one of its shape and dtype.

    Raises `GatewiseError` for an unknown name and for the name of a gate, `KeyError` for a function without a kernel.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._function = FUNCTIONS[self.name]


class GatedUnit(activations.GatedUnit):
    """act(x Wg) * (x Wu) whose gate is one native pass over both projections: x[..., dim] to [..., hidden].

    Raises what `activations.GatedUnit` raises, and `KeyError` for a gate without a kernel.
    """

    def __init__(self, dim: int, hidden: int, name: str, bias: bool = False) -> None:
        super().__init__(dim, hidden, name, bias)
        self._function = FUNCTIONS[self.name]

    @classmethod
    def of(cls, unit: activations.GatedUnit) -> "GatedUnit":
        """The unit around the same two projections: the modules themselves, not copies."""
        found = cls.__new__(cls)
        nn.Module.__init__(found)
        found.name, found.gate, found.up = unit.name, unit.gate, unit.up
        found._function = FUNCTIONS[unit.name]
        return found.train(unit.training)
