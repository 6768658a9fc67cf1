"""The feed-forward block on rows of tokens, evaluated a block of rows at a time: the hidden activation is never whole.

Shapes: n tokens, d the width of the model, h the hidden width; `first` are the one or two projections [h, d] (of a
gate: gate, up), `down` is [d, h]. Only two-dimensional float32 and bfloat16 tensors on the CPU.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gatewise import activations

from . import _products, _split
from ._autograd import followed, raw
from ._functions import FUNCTIONS, names


class Ways(NamedTuple):
    """Which of `_products.FORWARD`, `BY_INPUT` and `BY_WEIGHT` computes each product of a weight."""

    forward: str = "torch"
    by_input: str = "torch"
    by_weight: str = "torch"


TORCH = Ways()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a block is evaluated.

    Attributes:
        activation: a name of the table.
        high: whether the kernels compute in the `high` accuracy.
        rows: tokens in a block.
        first, down: what computes the products of the first projections, and of the last.
        keep: of so many of 8 blocks the projections are kept for the backward pass, which computes the others' again.
    """

    activation: str
    high: bool = False
    rows: int = 512
    first: Ways = TORCH
    down: Ways = TORCH
    keep: int = 8


class Weights(NamedTuple):
    """The weights of a block and their biases: one or two first projections, and the last."""

    first: tuple[Tensor, ...]
    first_bias: tuple[Tensor | None, ...]
    down: Tensor
    down_bias: Tensor | None

    def flat(self) -> tuple[Tensor | None, ...]:
        return (*self.first, *self.first_bias, self.down, self.down_bias)

    @staticmethod
    def of(flat: Sequence[Tensor | None]) -> "Weights":
        *first, down, down_bias = flat
        half = len(first) // 2
        weights: Any = (tuple(first[:half]), tuple(first[half:]), down)
        return Weights(first=weights[0], first_bias=weights[1], down=weights[2], down_bias=down_bias)

    def present(self) -> list[Tensor]:
        return [each for each in self.flat() if each is not None]

    def to(self, dtype: torch.dtype) -> "Weights":
        if self.down.dtype is dtype and all(each.dtype is dtype for each in self.first):
            return self
        return Weights.of([None if each is None else each.to(dtype) for each in self.flat()])

    def detached(self) -> "Weights":
        return Weights.of([None if each is None else each.detach() for each in self.flat()])


def blocks(num_rows: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` rows that cover all; the last is never a sliver that a product would be slow on."""
    count = max(1, -(-num_rows // size))
    step = -(-num_rows // count)
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


@cache
def _native(name: str, kind: str) -> Any:
    """The operator that writes to given tensors, or `no_grad`; None for a function without a kernel."""
    if name not in names():
        return None
    if kind == "no_grad":
        return raw(getattr(torch.ops.gatewise, name).no_grad)
    return raw(getattr(torch.ops.gatewise, f"{name}_{kind}").default)


def activate(recipe: Recipe, inputs: Sequence[Tensor], out: Tensor) -> Tensor:
    """The activation of one or two inputs written to `out`, which may be the first of them."""
    native = _native(recipe.activation, "out")
    if native is not None:
        native(*inputs, recipe.high, out=out)
        return out
    return out.copy_(activations.get(recipe.activation).torch(*inputs))


def activated(recipe: Recipe, inputs: Sequence[Tensor]) -> Tensor:
    """The activation as a new tensor whose rows are dense; no gradient is recorded."""
    native = _native(recipe.activation, "no_grad")
    if native is None:
        return activations.get(recipe.activation).torch(*inputs)
    found: Tensor = native(*inputs, recipe.high)
    return found


def slopes(recipe: Recipe, grad: Tensor, inputs: Sequence[Tensor], out: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The gradients by the inputs of the activation. They may be in `out`, whose old contents are lost in any case."""
    name = recipe.activation
    native = _native(name, "backward_out")
    if native is not None:
        into = dict(zip(("by_gate", "by_up") if len(inputs) == 2 else ("by_x",), out, strict=False))
        native(grad, *inputs, recipe.high, **into)
        return tuple(into.values())
    with torch.enable_grad():
        leaves = [each.detach().requires_grad_() for each in inputs]
        value = activations.get(name).torch(*leaves)
        return torch.autograd.grad(value, leaves, grad)


Kept = dict[int, list[Tensor]]
"""The first projections of some blocks of rows, by the block's place."""


def evaluate(recipe: Recipe, x: Tensor, weights: Weights, kept: Kept | None = None) -> Tensor:
    """The block's output [n, d]. `kept` is given the first projections of the first blocks, as many as are to keep."""
    count = -(-x.shape[0] // recipe.rows) * recipe.keep // 8

    def one(rows: Tensor) -> Tensor:
        if kept is not None and len(kept) < count and _whole(recipe, weights, "forward"):
            found = _split.forward(rows, *weights, function=names().index(recipe.activation), high=recipe.high)
            if found is not None:
                y, kept[len(kept)] = found
                return y
        inputs = project(recipe, rows, weights)
        if kept is None or len(kept) >= count:
            hidden = activate(recipe, inputs, inputs[0])
        else:
            kept[len(kept)] = inputs
            hidden = activate(recipe, inputs, torch.empty_like(inputs[0]))
        del inputs  # the second input is free before the last product is made
        return _products.FORWARD[recipe.down.forward](hidden, weights.down, weights.down_bias, None)

    return by_blocks(one, x, recipe.rows)


def _whole(recipe: Recipe, weights: Weights, product: str) -> bool:
    """Are the projections and what is made of them one operator? Where `product` of both, forward or by_input, is in
    parts."""
    ways = getattr(recipe.first, product), getattr(recipe.down, product)
    size = weights.down.numel() + sum(each.numel() for each in weights.first)
    return ways == ("split", "split") and recipe.activation in names() and size <= _split.MOST_NUMBERS


def project(recipe: Recipe, x: Tensor, weights: Weights) -> list[Tensor]:
    """The first projections [n, h]."""
    by = _products.FORWARD[recipe.first.forward]
    return [by(x, w, b, None) for w, b in zip(weights.first, weights.first_bias, strict=True)]


def by_blocks(one: Callable[[Tensor], Tensor], x: Tensor, size: int) -> Tensor:
    """`one` on each block of rows of x, the results one below the other."""
    num_rows = x.shape[0]
    if num_rows <= size:
        return one(x.contiguous())
    whole: Tensor | None = None
    for rows in blocks(num_rows, size):
        out = one(x[rows].contiguous())
        if whole is None:
            whole = out.new_empty(num_rows, out.shape[1])
        whole[rows] = out
    assert whole is not None
    return whole


_SCRATCH = 2**17
"""Numbers that are brought to float32 at a time: half a megabyte, which stays in cache."""


class _Sum:
    """A gradient added up over blocks: in float32, whatever the dtype of its parts, and the only part as it is."""

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.dtype = torch.float32
        self.turned = False

    def add(self, part: Tensor) -> None:
        if self.total is None:
            self.total, self.dtype = part, part.dtype
            return
        self.total = self.total.float()  # a copy where that is not its dtype; float32 parts are the sum's own
        if part.dtype is torch.float32:
            self.total.add_(part)
            return
        # torch adds two dtypes slowly: a few rows at a time are brought to one
        size = max(1, _SCRATCH // max(1, part[0].numel()))
        scratch = part.new_empty(min(size, part.shape[0]), *part.shape[1:], dtype=torch.float32)
        for start in range(0, part.shape[0], size):
            rows = part[start : start + size]
            self.total[start : start + size].add_(scratch[: rows.shape[0]].copy_(rows))

    def add_product(self, grad: Tensor, x: Tensor, way: str) -> None:
        """Add grad^T x, the same way each time: where torch's product can add, in one go."""
        if way == _products.TURNED and grad.numel() and x.numel():
            self.turned = True  # once, at the end
            self.add(_products.by_weight_turned(grad, x.t()))
        elif self.total is not None and way == "torch" and self.dtype is torch.float32:
            self.total.addmm_(grad.t(), x)
        else:
            self.add(_products.BY_WEIGHT[way](grad, x, None))

    def value(self) -> Tensor | None:
        if self.total is None:
            return None
        whole = self.total.to(self.dtype)
        return whole.t().contiguous() if self.turned else whole


def gradients(
    recipe: Recipe, grad: Tensor, x: Tensor, weights: Weights, kept: Kept, needed: Sequence[bool]
) -> list[Tensor | None]:
    """The gradients by x and by each of `weights.flat()`, None where it is not needed.

    `kept` is what `evaluate` kept. It is used up, block by block, so that its memory serves what is made meanwhile;
    projections that are not there are computed again.
    """
    found = _Gradients(recipe, weights, needed)
    by_x = torch.empty_like(x, memory_format=torch.contiguous_format) if needed[0] else None
    for i, rows in enumerate(blocks(x.shape[0], recipe.rows)):
        # A block's tensors are all gone before the next block's are made: they are the locals of this call.
        found.add(grad[rows], x[rows], kept.pop(i, None), None if by_x is None else by_x[rows])
    return [by_x, *(each.value() for each in found.sums)]


class _Gradients:
    """Sums over blocks of the gradients by the weights, in the order of `Weights.flat()`."""

    def __init__(self, recipe: Recipe, weights: Weights, needed: Sequence[bool]) -> None:
        self.recipe = recipe
        self.weights = weights
        self.need = needed[1:]
        self.need_first = any(needed[:-2])
        self.sums = [_Sum() for _ in self.need]

    def add(self, grad: Tensor, x: Tensor, inputs: list[Tensor] | None, by_x: Tensor | None) -> None:
        """What one block adds; its gradient by x goes to `by_x`. The projections are written over."""
        recipe, weights = self.recipe, self.weights
        x, grad = x.contiguous(), grad.contiguous()
        if self.need[-1]:
            self.sums[-1].add(grad.sum(0))
        inputs = inputs or project(recipe, x, weights)
        parts = self._slopes(grad, inputs)
        if parts is None:
            return
        del inputs
        if recipe.first.by_weight == _products.TURNED and sum(self.need[: len(parts)]) > 1:
            x = x.t().contiguous().t()  # which each of the products would do for itself
        if recipe.first.by_weight == "split" and len(parts) == 2 and all(self.need[:2]):
            for total, part in zip(self.sums, _split.by_weights(parts[0], parts[1], x), strict=False):
                total.add(part)
        else:
            for i, part in enumerate(parts):
                if self.need[i]:
                    self.sums[i].add_product(part, x, recipe.first.by_weight)
        for i, part in enumerate(parts):
            if self.need[len(parts) + i]:
                self.sums[len(parts) + i].add(part.sum(0))
        if by_x is not None:
            first, *others = zip(parts, weights.first, strict=True)
            if others and recipe.first.by_input == "split":
                _split.total(first[0], first[1], others[0][0], others[0][1], by_x)
                return
            _products.BY_INPUT[recipe.first.by_input](*first, by_x)
            for part, weight in others:
                _products.add_by_input(by_x, part, weight, recipe.first.by_input)

    def _slopes(self, grad: Tensor, inputs: list[Tensor]) -> Sequence[Tensor] | None:
        """The gradients by the projections, which are written over, or None where nobody needs them; what the block
        adds to that by the last weight is added on the way."""
        recipe, down, need_down = self.recipe, self.weights.down, self.need[-2]
        if need_down and self.need_first and _whole(recipe, self.weights, "by_input"):
            place = names().index(recipe.activation)
            hidden = _split.slopes(grad, down, inputs, function=place, high=recipe.high)
            if hidden is not None:
                self.sums[-2].add_product(grad, hidden, recipe.down.by_weight)
                return inputs
        if need_down:
            hidden = activate(recipe, inputs, torch.empty_like(inputs[0]))
            self.sums[-2].add_product(grad, hidden, recipe.down.by_weight)
            del hidden
        if not self.need_first:
            return None
        by_hidden = _products.BY_INPUT[recipe.down.by_input](grad, down, None)
        return slopes(recipe, by_hidden, inputs, inputs)


_saved_hooks: Any = getattr(getattr(torch._C, "_autograd", None), "_top_saved_tensors_default_hooks", None)  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]


def _saving_is_followed() -> bool:
    """Does somebody, such as a checkpoint, decide what becomes of saved tensors? Then nothing is kept beside those."""
    return _saved_hooks is not None and _saved_hooks(True) is not None


class FeedForwardFunction(torch.autograd.Function):
    """The whole block as one function of (recipe, x, *weights): it keeps x, the weights and, if told, the projections.

    The projections are not among torch's saved tensors, which live until a backward pass ends: they go block by block.
    A second pass through a retained graph, and one whose saved tensors went through hooks, computes them again.
    Twice differentiable: a backward pass that is itself recorded computes the block again in torch operations.
    """

    @staticmethod
    def forward(ctx: Any, recipe: Recipe, x: Tensor, *flat: Tensor | None) -> Tensor:
        ctx.recipe, ctx.kept = recipe, {}
        ctx.save_for_backward(x, *flat)
        return evaluate(recipe, x, Weights.of(flat), None if _saving_is_followed() else ctx.kept)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        x, *flat = ctx.saved_tensors
        needed = ctx.needs_input_grad[1:]
        if followed(grad):
            return None, *_differentiable(ctx.recipe, grad, x, flat, needed)
        with torch.autocast("cpu", enabled=False):  # what the forward pass computed in is settled
            return None, *gradients(ctx.recipe, grad, x, Weights.of(flat), ctx.kept, needed)


def _differentiable(
    recipe: Recipe, grad: Tensor, x: Tensor, flat: Sequence[Tensor | None], needed: Sequence[bool]
) -> list[Tensor | None]:
    """The same gradients as something that can be differentiated again."""
    with torch.enable_grad():
        # Views: x may come from these very weights, and a weight may stand in two places.
        x, flat = x.view_as(x), [None if each is None else each.view_as(each) for each in flat]
        wanted = [each for each, need in zip((x, *flat), needed, strict=True) if need and each is not None]
        out = plain(recipe.activation, "high" if recipe.high else "default", x, Weights.of(flat))
    found = iter(torch.autograd.grad(out, wanted, grad, create_graph=torch.is_grad_enabled()))
    return [next(found) if need else None for need in needed]


def plain(activation: str, accuracy: str, x: Tensor, weights: Weights) -> Tensor:
    """The block in torch's own linears, its activation native where there is a kernel: differentiable in any way."""
    native = FUNCTIONS.get(activation)
    if native is None:
        return stock(activation, x, weights)
    inputs = [torch.nn.functional.linear(x, w, b) for w, b in zip(weights.first, weights.first_bias, strict=True)]
    return torch.nn.functional.linear(native(*inputs, accuracy=accuracy), weights.down, weights.down_bias)


def stock(activation: str, x: Tensor, weights: Weights) -> Tensor:
    """The block as `activations.FeedForward` computes it."""
    inputs = [torch.nn.functional.linear(x, w, b) for w, b in zip(weights.first, weights.first_bias, strict=True)]
    return torch.nn.functional.linear(activations.get(activation).torch(*inputs), weights.down, weights.down_bias)
