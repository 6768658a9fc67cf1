"""The new matrices of a gate: how wide, and how they start."""

from torch import nn

from gatewise import activations
from gatewise.core import GatewiseError

from ._blocks import widths
from ._random import generator_for, start_linear
from ._recognise import Recognised
from ._tree import has_bias


def gated_hidden(up: nn.Linear, down: nn.Linear, matching: str, multiple_of: int) -> int:
    """The hidden width of a gate that stands in for `down(act(up(x)))`, with the biases that these layers have.

    With one width in and out and the same biases this is `activations.matched_hidden`. Else, with i in, o out and b
    the bias of `up` (that of `down` does not depend on the width): params h (i + o + b) / (2 i + o + 2 b), flops
    h (2 i + 2 o + 1 + b) / (4 i + 2 o + 2 + 2 b), the nearest whole number or rounded up to `multiple_of`.
    """
    i, wide = widths(up)
    o, b = widths(down)[1], int(has_bias(up))
    # Also checks the arguments, whatever the widths.
    even = activations.matched_hidden(i, wide, matching, multiple_of, bool(b))
    if i == o or matching == "none":
        return even
    if matching == "params":
        top, bottom = wide * (i + o + b), 2 * i + o + 2 * b
    else:
        top, bottom = wide * (2 * i + 2 * o + 1 + b), 4 * i + 2 * o + 2 + 2 * b
    if multiple_of == 1:
        return max(1, (2 * top + bottom) // (2 * bottom))
    return max(1, -(-(top // bottom) // multiple_of)) * multiple_of


def start_gate(unit: nn.Module, back: nn.Module, old: tuple[nn.Linear, nn.Linear], seed: int, path: str) -> None:
    """Fill the three new matrices of one site from its own random stream, each where and as the old one was."""
    if not isinstance(unit, activations.GatedUnit) or not isinstance(back, nn.Linear):
        raise GatewiseError(f"the gate at {path!r} was not built as asked")
    generator = generator_for(seed, path)
    up, down = old
    start_linear(unit.gate, up, generator)
    start_linear(unit.up, up, generator)
    start_linear(back, down, generator)


def simple_gate(name: str) -> str | None:
    """The function on the gate input, where a gate of the table is that function times the other input."""
    spec = activations.get(name)
    simple = spec.kind == "gate" and spec.formula == f"{spec.act}(gate) * up"
    return spec.act if simple else None


def gate_of(act: Recognised) -> tuple[str, bool]:
    """The gate that has this function on its gate input, and whether the table knows it."""
    for name in activations.names("gate"):
        if act.name is not None and simple_gate(name) == act.name:
            return name, True
    return f"{act.label}(gate) * up", False


def scalar_hidden(dim: int, gated: int, bias: bool, matching: str, multiple_of: int) -> int:
    """The hidden width of a scalar block that stands in for a gated one: `activations.matched_hidden` turned round."""
    b = int(bias)
    activations.matched_hidden(dim, gated, matching, multiple_of, bias)  # checks the arguments
    top, bottom = {
        "params": (gated * (3 * dim + 2 * b), 2 * dim + b),
        "flops": (gated * (6 * dim + 2 + 2 * b), 4 * dim + 1 + b),
        "none": (gated, 1),
    }[matching]
    if multiple_of == 1:
        return max(1, (2 * top + bottom) // (2 * bottom))
    return max(1, -(-(top // bottom) // multiple_of)) * multiple_of


def start_block(block: nn.Module, old: tuple[nn.Linear, nn.Linear, nn.Linear], seed: int, path: str) -> None:
    """Fill a new `FeedForward` that stands where the layers `old` (gate, up, down) stood."""
    if not isinstance(block, activations.FeedForward):
        raise GatewiseError(f"the block at {path!r} was not built as asked")
    gate, up, down = old
    if activations.get(block.activation).kind == "gate":
        start_gate(block.unit, block.down, (gate, down), seed, path)
        return
    generator = generator_for(seed, path)
    start_linear(block.up, up, generator)
    start_linear(block.down, down, generator)
