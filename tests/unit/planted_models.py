"""Small models with one thing planted in them each, for the tests of inspection."""

import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

Scalar = Callable[[Tensor], Tensor]
Gate = Callable[[Tensor, Tensor], Tensor]
DIM = 16


class Function(nn.Module):
    def __init__(self, function: Scalar) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Block(nn.Module):
    """A feed-forward block with a plain activation."""

    def __init__(self, function: Scalar) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(DIM)
        self.up = nn.Linear(DIM, 48)
        self.act = Function(function)
        self.down = nn.Linear(48, DIM)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.act(self.up(self.norm(x))))


class Gated(nn.Module):
    """A gate with two projections."""

    def __init__(self, function: Gate) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(DIM, 40, bias=False)
        self.up_proj = nn.Linear(DIM, 40, bias=False)
        self.down_proj = nn.Linear(40, DIM, bias=False)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down_proj(self.function(self.gate_proj(x), self.up_proj(x)))


class Packed(nn.Module):
    """A gate with one packed projection."""

    def __init__(self, function: Gate) -> None:
        super().__init__()
        self.both = nn.Linear(DIM, 48)
        self.down = nn.Linear(24, DIM)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.both(x).chunk(2, -1)
        return x + self.down(self.function(gate, up))


def net(
    scalars: Sequence[Scalar] = (), gates: Sequence[Gate] = (), packed: Sequence[Gate] = (), *, seed: int = 0
) -> nn.Sequential:
    """Blocks one after the other; the same seed gives the same weights whatever the functions are."""
    torch.manual_seed(seed)
    blocks = [*(Block(f) for f in scalars), *(Gated(f) for f in gates), *(Packed(f) for f in packed)]
    return nn.Sequential(*blocks).eval()


def inputs(items: int = 4) -> Tensor:
    return torch.randn(items, DIM, generator=torch.Generator().manual_seed(0))


gelu: Scalar = functional.gelu


def gelu_tanh(x: Tensor) -> Tensor:
    return functional.gelu(x, approximate="tanh")


def tanh_form(cubic: float) -> Scalar:
    return lambda x: 0.5 * x * (1 + torch.tanh(0.7978845608028654 * (x + cubic * x * x * x)))


def erf_form(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / 2**0.5))


def beta(value: float) -> Scalar:
    return lambda x: x * torch.sigmoid(value * x)


def leaky(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, 0.01)


def nothing(x: Tensor) -> Tensor:
    return x


def half_around(x: Tensor) -> Tensor:
    return functional.gelu(x.half()).float()


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    return functional.silu(gate) * up


def unfused_swiglu(gate: Tensor, up: Tensor) -> Tensor:
    return up * (gate * torch.sigmoid(gate))


def swapped(gate: Tensor, up: Tensor) -> Tensor:
    return functional.silu(up) * gate


def lost(gate: Tensor, up: Tensor) -> Tensor:
    del up
    return functional.silu(gate)


def clamped(gate: Tensor, up: Tensor) -> Tensor:
    return functional.silu(gate.clamp(max=7.0)) * up.clamp(-7.0, 7.0)


def reference() -> nn.Sequential:
    return net([gelu] * 3, [swiglu] * 2, [swiglu, clamped])


# name: (first model, second model, kind of the mismatch, path in the first)
PLANTED: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module], str, str]] = {
    "tanh for erf": (reference, lambda: net([gelu, gelu_tanh, gelu], [swiglu] * 2, [swiglu, clamped]), "function", "1"),
    "0.04 for 0.044715": (
        lambda: net([tanh_form(0.044715)] * 3),
        lambda: net([tanh_form(0.044715), tanh_form(0.044715), tanh_form(0.04)]),
        "function",
        "2",
    ),
    "beta 1.6": (lambda: net([beta(1.702)] * 2), lambda: net([beta(1.6), beta(1.702)]), "function", "0"),
    "1.61 for 1.6, none both": (lambda: net([beta(1.6)] * 2), lambda: net([beta(1.6), beta(1.61)]), "function", "1"),
    "dropped clamp": (reference, lambda: net([gelu] * 3, [swiglu] * 2, [swiglu, swiglu]), "function", "6"),
    "lost gate": (reference, lambda: net([gelu] * 3, [swiglu, lost], [swiglu, clamped]), "gate", "4"),
    "swapped": (reference, lambda: net([gelu] * 3, [swapped, swiglu], [swiglu, clamped]), "swapped", "3"),
    "swapped packed": (reference, lambda: net([gelu] * 3, [swiglu] * 2, [swapped, clamped]), "swapped", "5"),
    "half around one": (
        reference,
        lambda: net([gelu, half_around, gelu], [swiglu] * 2, [swiglu, clamped]),
        "dtype",
        "1",
    ),
    "relu for leaky": (lambda: net([leaky] * 2), lambda: net([leaky, functional.relu]), "function", "1"),
    "missing": (lambda: net([gelu] * 3), lambda: net([gelu, nothing, gelu]), "lost", "1"),
    "added": (lambda: net([gelu, nothing, gelu]), lambda: net([gelu] * 3), "added", "1"),
}


def export(
    model: nn.Module,
    path: Path,
    items: int = 4,
    *,
    dynamo: bool = True,
    example: Tensor | None = None,
    any_items: bool = False,
) -> Path:
    """An ONNX file of a model, all in one file. The older exporter writes GELU as separate operations."""
    x = inputs(items).to(next(model.parameters()).dtype) if example is None else example
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = ({0: torch.export.Dim.AUTO},) if any_items else None
            torch.onnx.export(
                model,
                (x,),
                path,
                dynamo=True,
                verbose=False,
                external_data=False,
                input_names=["x"],
                dynamic_shapes=shapes,
            )
        else:
            axes = {"x": {0: "items"}} if any_items else None
            torch.onnx.export(model, (x,), path, dynamo=False, opset_version=17, input_names=["x"], dynamic_axes=axes)
    return path
