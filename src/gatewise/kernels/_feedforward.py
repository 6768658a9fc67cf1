"""The feed-forward block by the way that measured fastest on this machine: packed, blocked, or stock."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gatewise import activations
from gatewise.core import GatewiseError, unknown_name

from . import _block_candidates, _block_quick, _block_route, _cuda
from ._block_kept import Cache
from ._block_route import PATHS, Route
from ._functions import ACCURACIES, FUNCTIONS
from ._linear_function import check, check_alike
from ._linear_operator import traced


class FeedForward(activations.FeedForward):
    """`activations.FeedForward`, the same function, parameters, names and state dict, on native kernels.

    x[..., dim] to [..., dim], float32 or bfloat16 on the CPU (other tensors take the stock way). The ways:

    - `torch`: the stock block.
    - `native`: torch's linears, the activation in one native pass.
    - `rows` (inference): for few tokens, products that read the weights once, where they lie.
    - `panels` (inference, activations with a kernel; float32, and bfloat16 with AMX): our own products, by weights in
      an order of our own, which finish the hidden numbers as they are summed; a few dozen or hundred tokens at a
      time, so that the hidden activation is never whole in memory.
    - `split` (inference, float32 with AMX): the same of three bfloat16 parts of each number, in whose products nothing
      is lost that float32's keep (`_split`); the copies take one and a half times the weights.
    - `packed` (inference): the projections in one product, weights in oneDNN's own order, tokens in blocks of rows.
      **Weights in another order take as much memory as the weights again** (`packed_bytes`); `pack=False`, an
      attribute, does without. They are made anew when the weights have changed, and dropped by `.train()`, `.to()`,
      loading a state dict and a call that records a gradient.
    - `blocked` (inference): blocks of rows with the weights as they are.
    - `save` (training): one autograd function around the block, which keeps the projections, not the activation, and
      frees them block by block as the backward pass uses them.
    - `recompute` (training): the same with half of the projections; the others are computed again, block by block.

    Which is taken is measured, once for each kind of shape and machine (`gatewise.kernels.choices`), unless `path`
    names one; a named one holds for the calls that it is of. Memory counts in training: `save` is preferred to `torch`
    and `native` if it costs at most 5 % more time, and where the projections of a call exceed `save_bytes`, `recompute`
    is taken if it costs at most 5 % more time than the stock block. `path_of(x)` says which way a call takes and why.

    Gradients are summed over blocks in float32. A block whose parts were changed (hooks, parametrizations, exchanged
    submodules) takes the stock way. Under `torch.compile`, functorch's transforms, forward-mode derivatives and hooks
    on all modules it is torch's linears and the native operator; such hooks see the linears, but not `unit` or `act`.
    A mode that watches operations sees the way that is taken without it, or that one where none was measured yet. A
    call without a gradient whose like came before finds its way by a few comparisons (`_block_quick`). On CUDA: see
    `_cuda`, whose kernels were never run by our tests.

    Raises what `activations.FeedForward` raises, and `GatewiseError` for an unknown `accuracy` or `path` and for an x
    of another dtype or device than the weights.
    """

    pack: bool = True
    save_bytes: int = 1 << 25

    def __init__(
        self,
        dim: int,
        hidden: int | None = None,
        activation: str = "swiglu",
        matching: str = "params",
        multiple_of: int = 1,
        bias: bool = False,
        *,
        accuracy: str = "default",
        path: str | None = None,
    ) -> None:
        super().__init__(dim, hidden, activation, matching, multiple_of, bias)
        self._set(accuracy, path)

    def _set(self, accuracy: str, path: str | None) -> None:
        if accuracy not in ACCURACIES:
            raise unknown_name("accuracy", accuracy, ACCURACIES)
        if path is not None and path not in PATHS:
            raise unknown_name("path of a feed-forward block", path, PATHS)
        self.accuracy = accuracy
        self.path = path
        self.cache = Cache()

    @classmethod
    def of(
        cls, block: activations.FeedForward, *, accuracy: str = "default", path: str | None = None, pack: bool = True
    ) -> "FeedForward":
        """A block around the very submodules, Parameters and hooks of `block`, in the same mode.

        Raises `GatewiseError` for anything but an `activations.FeedForward` itself or one of these.
        """
        if type(block) is not activations.FeedForward and type(block) is not cls:
            raise GatewiseError(
                f"FeedForward.of takes an activations.FeedForward itself, not {type(block).__name__}, which may differ"
            )
        made = cls.__new__(cls)
        made.__dict__.update(block.__dict__)  # hooks stay one object, so that their handles still remove them
        for name in ("_parameters", "_buffers", "_modules"):
            made.__dict__[name] = block.__dict__[name].copy()
        made._set(accuracy, path)
        made.pack = pack
        return made

    def forward(self, x: Tensor) -> Tensor:
        run = _block_quick.find(self, x)
        if run is not None:
            return run(x)
        _check(x, self.dim)
        try:
            return self._traced(x) if torch.compiler.is_compiling() else self._routed(x)
        except RuntimeError:
            weight = getattr(self.down, "weight", None)
            if isinstance(weight, Tensor):
                check_alike("FeedForward", x, weight)
            raise

    def _routed(self, x: Tensor) -> Tensor:
        route = _block_route.route(self, x)
        if route.training:
            self.drop_packed()
        elif route.weights is not None and route.place is not None:
            _block_quick.remember(self, x, route.way, route.place, route.weights)
        if route.way == "torch":
            return super().forward(x)
        if route.way == "native":
            return self._plain(x)
        if route.way == "cuda":
            return self._with(_cuda.function(self.activation)[0], x)
        if torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return self._whole(x, route)
        return self._whole(x, route)

    def path_of(self, x: Tensor) -> str:
        """Which way `forward(x)` takes here and now, and why: `packed: measured`. Measures where that was not done.

        Raises `GatewiseError` where x is no tensor of `dim` columns.
        """
        _check(x, self.dim)
        return str(_block_route.route(self, x, explained=True))

    @property
    def packed_bytes(self) -> int:
        """What the packed copies of the weights take now."""
        return self.cache.num_bytes

    def drop_packed(self) -> None:
        """Forget the packed weights, and give their memory back."""
        self.cache.drop()

    def _plain(self, x: Tensor) -> Tensor:
        native = FUNCTIONS.get(self.activation)
        return super().forward(x) if native is None else self._with(partial(native, accuracy=self.accuracy), x)

    def _with(self, function: Callable[..., Tensor], x: Tensor) -> Tensor:
        return self.down(function(self.unit.gate(x), self.unit.up(x)) if self._gated else function(self.up(x)))

    def _traced(self, x: Tensor) -> Tensor:
        """What torch.compile sees: operators for the products and the activation."""
        native = FUNCTIONS.get(self.activation)
        weights = _block_route.read(self)
        if native is None or not x.is_cpu or isinstance(weights, str):
            return super().forward(x)
        inputs = [traced(x, w, b, "FeedForward") for w, b in zip(weights.first, weights.first_bias, strict=True)]
        return traced(native(*inputs, accuracy=self.accuracy), weights.down, weights.down_bias)

    def _whole(self, x: Tensor, route: Route) -> Tensor:
        """The ways that see the block as one thing, on rows of one dtype."""
        assert route.weights is not None
        rows = x if x.ndim == 2 else x.reshape(-1, self.dim)
        if rows.dtype is not route.dtype:
            rows = rows.to(route.dtype)
        if route.training:
            out = _block_candidates.training_call(self, route.way, rows, route.weights)
        else:
            out = _block_candidates.inference(self, route.way, rows, route.weights)
        return out if x.ndim == 2 else out.view(*x.shape[:-1], out.shape[-1])

    def train(self, mode: bool = True) -> "FeedForward":
        self.drop_packed()
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.drop_packed()
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self.drop_packed()
        super()._load_from_state_dict(*args, **kwargs)

    def extra_repr(self) -> str:
        forced = "" if self.path is None else f", path={self.path!r}"
        return f"{super().extra_repr()}, accuracy={self.accuracy!r}{forced}"


def _check(x: Tensor, dim: int) -> None:
    check("FeedForward", x, dim)
    if x.is_nested and x.layout is torch.strided:
        raise GatewiseError("FeedForward: x must be a dense tensor, or a nested one of layout torch.jagged")
