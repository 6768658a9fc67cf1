"""Which way a feed-forward block takes for a call, and why; the ways themselves are `_blocked` and `_block_packed`."""

from typing import Any, NamedTuple, Protocol

import torch
import torch.utils._python_dispatch as dispatch
from torch import Tensor, nn
from torch.nn.modules import module as modules

from gatewise import activations

from . import _block_few, _block_panels, _choice, _cuda, _panels, _products
from ._autograd import PRIVATE, dual_level, pre_dispatch, tracing
from ._block_candidates import RECOMPUTE, SAVE, candidates
from ._block_kept import Cache
from ._block_packed import packable
from ._block_quick import changed
from ._blocked import Weights
from ._choice_file import Choice
from ._choice_timing import Price
from ._linear import Linear
from ._linear_questions import MOST_BITS
from ._modules import Activation, GatedUnit
from ._surroundings import watched

INFERENCE = ("torch", "native", "rows", "panels", "split", "packed", "blocked")
TRAINING = ("torch", "native", "save", "recompute")
PATHS = tuple(dict.fromkeys((*INFERENCE, *TRAINING)))
SMALL = 2**20
"""Multiplications of a block up to which nothing is measured: Python's share of the time leaves nothing to win."""
PRICE = 1.05
"""How much longer a training step may take for the sake of memory."""
PRICES = {"save": Price(PRICE), "recompute": Price(PRICE, of="torch")}
"""`save` is measured against the quickest way, for it keeps little less; `recompute` against the stock block."""

_TENSORS = (Tensor, nn.Parameter)
_LINEARS = (nn.Linear, Linear)
_UNITS = (activations.GatedUnit, GatedUnit)
_ACTIVATIONS = (activations.Activation, Activation)
_MODULES: Any = modules
_DISPATCH: Any = dispatch


class Block(Protocol):
    """What is asked of a `FeedForward` here, beside its modules."""

    activation: str
    accuracy: str
    path: str | None
    pack: bool
    save_bytes: int
    cache: Cache


class Route(NamedTuple):
    """A way of `FeedForward`, and why; for the ways that see the block as one thing: in what dtype, and its weights.

    `training` where a gradient is recorded; `place` where `_choice.recall` has a measured or named way.
    """

    way: str
    why: str
    dtype: torch.dtype = torch.float32
    training: bool = False
    weights: Weights | None = None
    place: tuple[object, ...] | None = None

    def __str__(self) -> str:
        return f"{self.way}: {self.why}"


def read(block: Block) -> Weights | str:
    """The block's weights, or what about its parts is not as they were made, so that they must be called."""
    own: dict[str, Any] = block.__dict__["_modules"]
    down, unit = own["down"], own.get("unit")
    if unit is None:
        act = own["act"]
        if type(act) not in _ACTIVATIONS or act.name != block.activation:
            return f"act is not the {block.activation} that it was"
        linears = {"up": own["up"], "down": down}
        changed = _changed("act", act)
    else:
        if type(unit) not in _UNITS or unit.name != block.activation:
            return f"unit is not the {block.activation} that it was"
        inner = unit.__dict__["_modules"]
        linears = {"unit.gate": inner["gate"], "unit.up": inner["up"], "down": down}
        changed = _changed("unit", unit)
    for name, part in linears.items():
        if type(part) not in _LINEARS:
            return f"{name} is a {type(part).__name__}"
        changed = changed or _changed(name, part)
    if changed is not None:
        return changed
    *first, last = [part.__dict__["_parameters"] for part in linears.values()]
    return Weights(
        tuple([each["weight"] for each in first]),
        tuple([each["bias"] for each in first]),
        last["weight"],
        last["bias"],
    )


def _changed(name: str, part: nn.Module) -> str | None:
    own = part.__dict__
    if not changed(own):
        return None
    return f"{name} has a forward of its own" if "forward" in own else f"{name} has a hook"


def route(block: Block, x: Tensor, *, explained: bool = False) -> Route:
    """The way of `block(x)`. With `explained` the whole reason, which costs more where the way is known."""
    if on_cuda(x):
        return Route("cuda", _cuda.function(block.activation)[1])
    autocast = torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu") if autocast and x.dtype is not torch.float64 else x.dtype
    why = _refused(x, dtype)
    if why is not None:
        return Route("torch", why)
    weights = read(block)
    if isinstance(weights, str):
        return Route("torch", weights)
    flat = weights.present()
    for weight in flat:
        if type(weight) not in _TENSORS or not weight.is_cpu or weight.layout is not torch.strided:
            return Route("torch", f"a weight is a {type(weight).__name__} on {weight.device.type}")
        if weight.dtype is not dtype and (not autocast or weight.dtype is torch.float64):
            return Route("torch", f"weights of {weight.dtype} and an input of {x.dtype}")
    why = _followed()
    if why is not None:
        return Route("native", why)
    training = torch.is_grad_enabled() and (x.requires_grad or any(weight.requires_grad for weight in flat))
    place = _place(block, x, weights, dtype, training=training)
    way = None if explained or torch.are_deterministic_algorithms_enabled() else _choice.recall(place)
    why = "known"
    if way is None:
        way, why = _chosen(block, x, weights, place)
    return Route(way, why, dtype, training, weights, place)


def on_cuda(x: Tensor) -> bool:
    return x.is_cuda


def _refused(x: Tensor, dtype: torch.dtype) -> str | None:
    """Why nothing but the stock block will do for this input; None when something else may."""
    if type(x) not in _TENSORS or x.layout is not torch.strided:
        return f"the input is a {type(x).__name__} of layout {x.layout}"
    if not x.is_cpu:
        return f"the kernels are for the CPU, not {x.device.type}"
    if dtype not in _products.DTYPES:
        return f"the kernels are for float32 and bfloat16, not {dtype}"
    if not x.numel():
        return "no tokens"
    return None


def _followed() -> str | None:
    """Why the block must be differentiable torch operations that somebody follows; None when it need not.

    A mode that only watches (counts bytes, records operations) sees the way that would be taken without it.
    """
    if _MODULES._global_forward_hooks or _MODULES._global_forward_pre_hooks:
        return "a hook on all modules"
    if _MODULES._global_backward_hooks or _MODULES._global_backward_pre_hooks:
        return "a hook on all modules"
    if PRIVATE is None:
        return f"torch {torch.__version__} does not tell what goes on around a call"
    if PRIVATE.transforms_active():
        return "under a transform of torch.func"
    if dual_level():
        return "under forward-mode differentiation"
    modes = _DISPATCH._get_current_dispatch_mode_stack()
    if tracing() or pre_dispatch() or any(getattr(mode, "_mode_key", None) for mode in modes):
        return "torch traces the program"
    return None


class Place(NamedTuple):
    """Everything that a choice depends on: under it `_choice.recall` has the way."""

    training: bool
    size: int
    dim: int
    hidden: int
    activation: str
    accuracy: str
    bias: bool
    dtype: torch.dtype
    threads: int
    pack: bool
    much: bool
    path: str | None

    def key(self) -> dict[str, object]:
        """What is asked of `_choice`."""
        found: dict[str, object] = {
            "rows": 1 << self.size,
            "dim": self.dim,
            "hidden": self.hidden,
            "activation": self.activation,
            "accuracy": self.accuracy,
            "bias": self.bias,
            "dtype": str(self.dtype).removeprefix("torch."),
            "threads": self.threads,
        }
        if self.training:
            return found
        # What the same kernels have on one processor and not on another:
        if self.dtype is torch.bfloat16:
            found["panels"] = _panels.available(self.dtype)
        elif _panels.available(self.dtype, split=True):
            found["split"] = True
        return {**found, "pack": self.pack}


def _place(block: Block, x: Tensor, weights: Weights, dtype: torch.dtype, *, training: bool) -> Place:
    hidden, dim = weights.first[0].shape
    num_rows = x.numel() // dim
    return Place(
        training,
        min((num_rows - 1).bit_length(), MOST_BITS),
        dim,
        hidden,
        block.activation,
        block.accuracy,
        weights.down_bias is not None,
        dtype,
        torch.get_num_threads(),
        block.pack,
        training and _kept_bytes(x, weights, dtype) > block.save_bytes,
        block.path,
    )


def _kept_bytes(x: Tensor, weights: Weights, dtype: torch.dtype) -> int:
    """What the projections of a call take, which `save` keeps."""
    hidden, dim = weights.first[0].shape
    return x.numel() // dim * len(weights.first) * hidden * dtype.itemsize


def _chosen(block: Block, x: Tensor, weights: Weights, place: Place) -> tuple[str, str]:
    """The way that is named, or measured, and why."""
    training, first = place.training, weights.first
    if place.path is not None and place.path in (TRAINING if training else INFERENCE):
        why_not = _not_to_be_had(block, place.path, weights, place.dtype)
        if why_not is not None:
            if not any(each.is_inference() for each in weights.present()):  # which a place does not tell
                _choice.note(place, "blocked")
            return "blocked", f"path={place.path!r}, {why_not}"
        return _choice.note(place, place.path), f"path={place.path!r}"
    question = "ffn.training" if training else "ffn.inference"
    is_forced = _choice.is_forced("ffn") and bool({"ffn", question} & _choice.asked().keys())
    if not is_forced:
        if (1 << place.size) * first[0].numel() * (len(first) + 1) <= SMALL:
            return _choice.note(place, "native"), f"at most {SMALL:,} multiplications"
        if torch.are_deterministic_algorithms_enabled():
            return "torch", "torch.use_deterministic_algorithms: a choice may differ from run to run"
    key = place.key()
    way = _choice.known(question, key)
    if way is None:
        around = watched()
        if around is not None and not is_forced:
            return "native", f"{around}, nothing is measured"
        way = _choice.choose(question, key, candidates(block, x, weights, place.dtype, training=training), PRICES)
        block.cache.drop()  # the copies that the other ways made
    if is_forced:
        return _choice.note(place, way), "forced"
    if not training:
        return _choice.note(place, way), "measured"
    found = _choice.measured(question, key)
    if found is None:  # nothing was measured, so that nothing speaks for another way
        return _choice.note(place, way), "nothing could be measured"
    way, why = _thrifty(found, _kept_bytes(x, weights, place.dtype) if place.much else 0)
    return _choice.note(place, way), why


def _not_to_be_had(block: Block, way: str, weights: Weights, dtype: torch.dtype) -> str | None:
    """Why a way that is named cannot be taken; None where it can."""
    if way == "rows" and not _block_few.available():
        return "which needs the native kernels"
    if way in _block_panels.WAYS and not _block_panels.available(
        block.activation, weights, dtype, split=way == "split"
    ):
        return "which needs an activation and a dtype with such kernels, and weights not made in inference mode"
    if way == "packed" and not packable(weights, dtype):
        return "and these weights cannot be packed"
    return None


def _thrifty(found: Choice, kept_bytes: int) -> tuple[str, str]:
    """The measured way of training, or one that keeps less and was not shown to be dear: `save`; where that would keep
    much (`kept_bytes`, else 0) `recompute`. And why."""
    way, why, times_s = found.chosen, "measured", found.times_s
    if way in ("torch", "native") and "save" in times_s and "save" not in found.dear:
        way, why = "save", f"keeps less than {way}, in {times_s['save'] / times_s[way]:.2f} of its time"
    if not kept_bytes or way == "recompute" or "recompute" not in times_s:
        return way, why
    base, whose = ("torch", "the stock block's") if "torch" in times_s else (found.chosen, f"{found.chosen}'s")
    price = f"{times_s['recompute'] / times_s[base]:.2f} of {whose} time"
    less = kept_bytes * (SAVE - RECOMPUTE) // SAVE >> 20
    if "recompute" in found.dear:
        return way, f"{why}; recompute, which keeps {less} MiB less, takes {price}"
    return "recompute", f"keeps {less} MiB less, in {price}"
