"""The way of a call like one before, found again without asking everything: at few tokens, asking costs more than work.

A plan is kept for each shape and dtype of an input at inference. It holds as long as nothing is different that the way
was derived from: the block's settings and parts, their hooks, the weights, what goes on around the call, the choice.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own name for it)
from torch.nn.modules import module as modules

from gatewise import activations

from . import _block_candidates, _block_few, _block_packed, _block_panels, _blocked, _choice
from ._autograd import dual_level, function_modes, raw, tracing, transformed
from ._block_candidates import Settings
from ._block_packed import packable
from ._blocked import Weights
from ._functions import ACCURACIES, names

MOST = 64
"""Plans of one block: more shapes than this, and all are found anew."""

_TENSORS = (Tensor, nn.Parameter)
_MODULES: Any = modules
_core: Any = torch._C  # pyright: ignore[reportPrivateUsage]
_num_modes: Any = getattr(_core, "_len_torch_dispatch_stack", None)
_compiling, _autocast, _records = torch.compiler.is_compiling, torch.is_autocast_enabled, torch.is_grad_enabled
_threads, _precision = torch.get_num_threads, torch.get_float32_matmul_precision
_deterministic = torch.are_deterministic_algorithms_enabled
_global_hooks = tuple(
    getattr(_MODULES, f"_global_{which}_hooks") for which in ("forward", "forward_pre", "backward", "backward_pre")
)
Run = Callable[[Tensor], Tensor]


class Block(Settings, Protocol):
    """What is asked of a `FeedForward` here, beside its modules."""

    path: str | None


class Plan(NamedTuple):
    """How a call is computed, and what must be as it was.

    Attributes:
        run: computes it.
        way: its name.
        place: where `_choice.recall` has it.
        settings: `_settings()` then.
        slots: dictionaries of the parts, with a name and what stood there.
        parts: the parts' dictionaries and their classes.
        weights: and their shapes; no more of them than dtype and shape can have changed.
    """

    run: Run
    way: str
    place: tuple[object, ...]
    settings: tuple[object, ...]
    slots: tuple[tuple[dict[str, Any], str, object], ...]
    parts: tuple[tuple[nn.Module, dict[str, Any], type], ...]
    weights: tuple[tuple[Tensor, torch.Size], ...]


def find(block: Block, x: Tensor) -> Run | None:
    """What computes `block(x)` where an earlier call settled that; None where it must be looked for."""
    if _compiling() or _records() or type(x) not in _TENSORS:
        return None
    try:
        plan = block.cache.plans.get((x.shape, x.dtype))
    except RuntimeError:  # a nested tensor has no shape
        return None
    if plan is None or not x.is_cpu or x.layout is not torch.strided or _watched():
        return None
    if plan.settings != _settings(block) or _choice.recall(plan.place) != plan.way:
        return None
    for owner, name, what in plan.slots:
        if owner.get(name) is not what:
            return None
    for weight, shape in plan.weights:
        if weight.dtype is not x.dtype or weight.shape != shape:  # written to through `.data`
            return None
    for part, own, kind in plan.parts:
        if type(part) is not kind or changed(own):
            return None
    return plan.run


def remember(block: Block, x: Tensor, way: str, place: tuple[object, ...], weights: Weights) -> None:
    """Keep the way of a call at inference without autocast, whose route was just found."""
    if _autocast("cpu") or _records() or _watched() or _choice.recall(place) != way:
        return
    plans = block.cache.plans
    if len(plans) >= MOST:
        plans.clear()
    slots, parts = _parts(block)
    run = _runs(block, x, way, weights)
    shaped = tuple([(each, each.shape) for each in weights.present()])
    plans[x.shape, x.dtype] = Plan(run, way, place, _settings(block), slots, parts, shaped)


def changed(own: dict[str, Any]) -> bool:
    """Has a part, by its dictionary, a hook or a forward of its own?"""
    return bool(
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or "forward" in own
    )


def _watched() -> bool:
    """Is there anything around the call that is not there at a plain call?"""
    for hooks in _global_hooks:
        if hooks:
            return True
    return bool(
        _autocast("cpu")
        or transformed()
        or _num_modes is None
        or _num_modes()
        or dual_level()
        or tracing()
        or function_modes()
        or _deterministic()
    )


def _settings(block: Block) -> tuple[object, ...]:
    return block.path, block.accuracy, block.pack, _threads(), _precision()


def _parts(block: Any) -> tuple[Any, Any]:
    """The slots and parts of a `Plan`: children, their children, and all their parameters."""
    slots: list[tuple[dict[str, Any], str, object]] = []
    parts: list[tuple[nn.Module, dict[str, Any], type]] = []

    def look(module: nn.Module) -> None:
        own = module.__dict__
        slots.extend((own["_parameters"], name, each) for name, each in own["_parameters"].items())
        for name, child in own["_modules"].items():
            slots.append((own["_modules"], name, child))
            parts.append((child, child.__dict__, type(child)))
            look(child)

    look(block)
    return tuple(slots), tuple(parts)


def _runs(block: Block, x: Tensor, way: str, weights: Weights) -> Run:
    if way in ("torch", "native"):
        return _linears(block, way, weights)
    dim, ndim = x.shape[-1], x.ndim
    shape = (*x.shape[:-1], weights.down.shape[0])
    on_rows = _on_rows(block, x, way, weights)
    if ndim == 2:
        return on_rows
    return lambda x: on_rows(x.reshape(-1, dim)).view(shape)


def _on_rows(block: Block, x: Tensor, way: str, weights: Weights) -> Run:
    high = block.accuracy == ACCURACIES[1]
    if way == "rows" and _block_few.available():
        return _block_few.runs(block.activation, weights, high=high)
    split = way == "split"
    if way in _block_panels.WAYS and _block_panels.available(block.activation, weights, x.dtype, split=split):
        return _block_panels.runs(block.activation, weights, x.dtype, block.cache, high=high, split=split)
    if way == "packed" and packable(weights, x.dtype):
        how = _block_candidates.packed_recipe(block)
        kept, dtype = block.cache, x.dtype
        return lambda x: _block_packed.evaluate(how, x, _block_packed.packed(kept, weights, dtype))
    recipe = _block_candidates.recipe(block, x.reshape(-1, x.shape[-1]), weights, training=False)
    return lambda x: _blocked.evaluate(recipe, x, weights)


def _linears(block: Block, way: str, weights: Weights) -> Run:
    """The block in torch's linears, its activation native or stock; for no recorded gradient."""
    name, linear = block.activation, F.linear
    last, last_bias = weights.down, weights.down_bias
    function: Callable[..., Tensor] = activations.get(name).torch
    if way == "native" and name in names():
        packet: Any = getattr(torch.ops.gatewise, name)
        op, high = raw(packet.no_grad), block.accuracy == ACCURACIES[1]
        if len(weights.first) == 1:
            (one,), (one_bias,) = weights.first, weights.first_bias
            return lambda x: linear(op(linear(x, one, one_bias), high), last, last_bias)
        (gate, up), (gate_bias, up_bias) = weights.first, weights.first_bias
        return lambda x: linear(op(linear(x, gate, gate_bias), linear(x, up, up_bias), high), last, last_bias)
    pairs = tuple(zip(weights.first, weights.first_bias, strict=True))
    return lambda x: linear(function(*[linear(x, w, b) for w, b in pairs]), last, last_bias)
