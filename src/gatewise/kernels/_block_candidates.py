"""How a feed-forward block is computed each way, and the candidates that are measured against each other."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from . import _block_few, _block_packed, _block_panels, _blocked, _linear_questions
from ._block_kept import Cache
from ._block_packed import packable
from ._blocked import Recipe, Ways, Weights

ROWS = 512
"""Tokens in a block of rows of a training step, at least; so many at inference may have a whole hidden activation
by any way, a block's worth by `blocked`."""
PLAIN_TIMES, PACKED_PART = 2, 2
"""A block at inference has twice as many where the weights lie plain: products that pack the weights for each block
were 4 to 10 % quicker for it (an Intel Xeon). It has half as many where they are packed already: its hidden activation
then stays in the second cache (3 % of a bfloat16 block there)."""
ROW_BYTES, MOST_TIMES = {torch.float32: 2**15, torch.bfloat16: 2**13}, 4
"""Where the hidden activation of a token takes less than so many bytes, a block of a training step has up to four times
as many: products that sum over the tokens, of the gradients by the weights, want them many. Those of MKL in float32
most of all: at a hidden width of 2,048 a step took 1.07, 1.03 and 1.01 of the time of whole products at 512, 1,024 and
2,048 tokens in a block (an Intel Xeon)."""
MANY = 4
"""From so many blocks on, what is done once to a sum of theirs counts for nothing."""
SAVE, RECOMPUTE = 8, 4
"""Of how many of 8 blocks of rows the projections are kept. Half of them: as the backward pass uses them up, their
memory is what the gradients and the other blocks need, so that keeping fewer would hardly lower the peak."""


class Settings(Protocol):
    """What is asked of a `FeedForward` here."""

    activation: str
    accuracy: str
    pack: bool
    cache: Cache


def candidates(
    block: Settings, x: Tensor, weights: Weights, dtype: torch.dtype, *, training: bool
) -> Mapping[str, Callable[[], object]]:
    """The ways of a call, the stock one first, on its own numbers: at most `MOST_ROWS` of its rows."""
    with torch.inference_mode(False), torch.no_grad():
        rows = x.detach().reshape(-1, x.shape[-1])[: _linear_questions.MOST_ROWS].to(dtype, copy=True)
        leaves = weights.to(dtype).detached()
    if training:
        return _training(block, rows, x.requires_grad, weights, leaves)
    found: dict[str, Callable[[], object]] = {"torch": lambda: _blocked.stock(block.activation, rows, leaves)}
    if rows.shape[0] <= ROWS:  # beyond it no more than a block of the hidden activation is to be there
        found["native"] = lambda: _blocked.plain(block.activation, block.accuracy, rows, leaves)
    if rows.shape[0] <= _block_few.FEW and _block_few.available():
        found["rows"] = lambda: inference(block, "rows", rows, weights)
    if block.pack and rows.shape[0] > _block_panels.FEW and _block_panels.available(block.activation, weights, dtype):
        found["panels"] = lambda: inference(block, "panels", rows, weights)
        if _block_panels.available(block.activation, weights, dtype, split=True):
            found["split"] = lambda: inference(block, "split", rows, weights)
    if block.pack and packable(weights, dtype):
        found["packed"] = lambda: inference(block, "packed", rows, weights)
    found["blocked"] = lambda: inference(block, "blocked", rows, weights)
    return found


def _training(
    block: Settings, rows: Tensor, by_x: bool, weights: Weights, leaves: Weights
) -> Mapping[str, Callable[[], object]]:
    rows.requires_grad_(by_x)
    for leaf, weight in zip(leaves.present(), weights.present(), strict=True):
        leaf.requires_grad_(weight.requires_grad)
    wanted = [each for each in (rows, *leaves.present()) if each.requires_grad]
    grad = torch.ones(rows.shape[0], leaves.down.shape[0], dtype=rows.dtype)

    def both_ways(forward: Callable[[], Tensor]) -> Callable[[], object]:
        def step() -> object:
            with torch.enable_grad():
                return torch.autograd.grad(forward(), wanted, grad)

        return step

    return {
        "torch": both_ways(lambda: _blocked.stock(block.activation, rows, leaves)),
        "native": both_ways(lambda: _blocked.plain(block.activation, block.accuracy, rows, leaves)),
        "save": both_ways(lambda: training_call(block, "save", rows, leaves)),
        "recompute": both_ways(lambda: training_call(block, "recompute", rows, leaves)),
    }


def inference(block: Settings, way: str, rows: Tensor, weights: Weights) -> Tensor:
    """A way that sees the block as one thing, on rows [n, d], in their dtype; `blocked` where it is not to be had."""
    dtype, high = rows.dtype, block.accuracy == "high"
    if way == "rows" and _block_few.available():
        return _block_few.runs(block.activation, weights.to(dtype), high=high)(rows)
    if way in _block_panels.WAYS and _block_panels.available(block.activation, weights, dtype, split=way == "split"):
        return _block_panels.runs(block.activation, weights, dtype, block.cache, high=high, split=way == "split")(rows)
    if way == "packed" and packable(weights, dtype):
        return _block_packed.evaluate(packed_recipe(block), rows, _block_packed.packed(block.cache, weights, dtype))
    return _blocked.evaluate(recipe(block, rows, weights, training=False), rows, weights.to(dtype))


def packed_recipe(block: Settings) -> Recipe:
    """How a block of packed weights is evaluated."""
    return Recipe(activation=block.activation, high=block.accuracy == "high", rows=ROWS // PACKED_PART)


def training_call(block: Settings, way: str, rows: Tensor, weights: Weights) -> Tensor:
    """`save` or `recompute` on rows [n, d], in their dtype, recording the gradient."""
    how = recipe(block, rows, weights, training=True, keep=SAVE if way == "save" else RECOMPUTE)
    found: Any = _blocked.FeedForwardFunction.apply(how, rows, *weights.to(rows.dtype).flat())
    return found


def recipe(block: Settings, rows: Tensor, weights: Weights, *, training: bool, keep: int = 0) -> Recipe:
    """How the block is evaluated on such rows, each product by the way that the questions of a linear layer find."""
    (hidden, dim), dim_out = weights.first[0].shape, weights.down.shape[0]
    times = ROW_BYTES[rows.dtype] // (hidden * rows.dtype.itemsize)
    most = ROWS * (min(max(times, 1), MOST_TIMES) if training else PLAIN_TIMES)
    num_rows = min(rows.shape[0], most)
    kinds = ("forward", "by_input", "by_weight") if training else ("forward",)
    many = rows.dtype is torch.bfloat16 and rows.shape[0] >= MANY * most

    def ask(kind: str, shape: tuple[int, int]) -> str:
        return _linear_questions.ask(kind, num_rows, shape, rows.dtype, summed=many and kind == "by_weight")

    return Recipe(
        activation=block.activation,
        high=block.accuracy == "high",
        rows=most,
        first=Ways(*(ask(kind, (hidden, dim)) for kind in kinds)),
        down=Ways(*(ask(kind, (dim_out, hidden)) for kind in kinds)),
        keep=keep,
    )
