"""`nn.Linear` with each of its matrix products computed the way that measured fastest on this machine."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own name for it)

from gatewise.core import GatewiseError

from . import _products
from ._linear_function import Products, by_torch, check, flat, product, stock
from ._linear_operator import traced
from ._linear_packed import Pack
from ._linear_questions import ask, rows_of

AUTOCAST = "autocast: torch casts the weights once in a region and keeps them"


class Linear(nn.Linear):
    """y = x W^T + b on [..., in_features]: a drop-in for `nn.Linear`, with the same parameters and state dict.

    Of float32 and bfloat16 tensors on the CPU, the forward product, the gradient by the input and the gradient by the
    weight are each computed by torch's matrix product, by oneDNN's or, in float32 with AMX, in three bfloat16 parts
    (`split`, no less exact), whichever measured faster on this machine for the shape: three questions,
    `linear.forward`, `linear.by_input` and `linear.by_weight`, each asked once for every power of two of the number of
    rows up to 4,096, fewer for large weights (see `gatewise.kernels.choices`). All else is `F.linear`, and so is
    everything of fewer than 2^20 multiplications, under functorch's transforms, forward-mode derivatives, export, a
    dispatch mode, autocast (which keeps the weights it has cast, for `F.linear`), or
    `torch.use_deterministic_algorithms`; `path` says what a call takes and why. Results of the ways differ in rounding.
    Under `torch.compile` it is one operator, which chooses when it runs; under a compiler that freezes weights it is
    `F.linear`.

    In evaluation mode and with no gradient recorded, another way is asked about: weights packed for oneDNN. **They take
    as much memory as the weights again**; `pack=False` does without. They are made at the second call that finds the
    weights unchanged and dropped when those change, move, are loaded or trained. What writes through `.data` goes
    unseen by torch, so 61 numbers of the weights are compared at each call as well: a write that misses all of them
    needs `drop_packed()`.

    Raises `GatewiseError` where x is no tensor of `in_features` columns and of the weight's dtype and device, and for a
    size or dtype that no layer has.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        pack: bool = True,
    ) -> None:
        for name, size in (("in_features", in_features), ("out_features", out_features)):
            if not hasattr(size, "__index__") or isinstance(size, Tensor) or size < 0:  # numpy's whole numbers are fine
                raise GatewiseError(f"Linear: {name} must be a whole number of at least 0, got {size!r}")
        if dtype is not None and not (isinstance(dtype, torch.dtype) and (dtype.is_floating_point or dtype.is_complex)):
            raise GatewiseError(f"Linear: dtype must be a floating or complex torch.dtype, got {dtype!r}")
        super().__init__(in_features, out_features, bias, device, dtype)
        self.pack = pack
        self._packed: Pack | None = None

    @classmethod
    def of(cls, linear: nn.Linear, *, pack: bool = True) -> "Linear":
        """A `Linear` in place of `linear`: the very same Parameters, hooks and mode.

        Raises `GatewiseError` for anything but an `nn.Linear` itself: a subclass (quantised, with an adapter, with a
        parametrization), or a layer whose `forward` was replaced, may compute something else.
        """
        if type(linear) is not nn.Linear and type(linear) is not cls:
            raise GatewiseError(f"Linear.of takes an nn.Linear itself, not {type(linear).__name__}, which may differ")
        if "forward" in linear.__dict__:
            raise GatewiseError("Linear.of takes an nn.Linear itself; this one was given a forward of its own")
        made = cls.__new__(cls)
        made.__dict__.update(linear.__dict__)  # hooks stay one object, so that their handles still remove them
        for name in ("_parameters", "_buffers", "_modules"):
            made.__dict__[name] = linear.__dict__[name].copy()
        made.pack = pack
        made._packed = None
        return made

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (as in nn.Linear)
        x = input
        own = self._parameters
        weight, bias = own.get("weight"), own.get("bias")
        if weight is None:  # made anew by a parametrization
            weight = self.weight
        if bias is None:
            bias = self.bias
        if torch.compiler.is_compiling():
            return traced(x, weight, bias)
        if torch.is_autocast_enabled("cpu") or stock(x, weight, bias) is not None:
            return by_torch(x, weight, bias)
        if torch.is_grad_enabled() and (
            x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)  # pyright: ignore[reportUnnecessaryComparison]
        ):
            return Products.apply(x, weight, bias)  # pyright: ignore[reportReturnType]
        if self.training or not self._packs(weight):
            return product(x, weight, bias)
        return self._inference(x, weight, bias)

    def _inference(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        shape = tuple(weight.shape)
        way = ask("inference", x.numel() // shape[1], shape, weight.dtype)
        if way == "torch":
            return F.linear(x, weight, bias)
        if way in _products.FORWARD:
            return flat(_products.FORWARD[way], x, weight, bias)
        if self._packed is None:
            self._packed = Pack()
        packed = self._packed.of(weight)
        if packed is None:
            return flat(_products.FORWARD["onednn"], x, weight, bias)
        return flat(_products.onednn, x, packed, bias)

    def _packs(self, weight: Tensor) -> bool:
        # A weight computed by a parametrization is a new one at every call.
        return self.pack and not self.training and weight is self._parameters.get("weight")

    def path(self, x: Tensor) -> str:
        """Which way the forward product of x takes: `torch`, `onednn`, `split` or `packed`, or `F.linear: <why>`.

        Says what was or would be chosen; measures where that was not done yet.
        """
        weight, bias = self.weight, self.bias
        check("Linear", x, weight.shape[-1])
        why = AUTOCAST if torch.is_autocast_enabled("cpu") else stock(x, weight, bias)
        if why is not None:
            return f"F.linear: {why}"
        recorded = torch.is_grad_enabled() and any(
            each is not None and each.requires_grad  # pyright: ignore[reportUnnecessaryComparison]
            for each in (x, weight, bias)
        )
        kind = "inference" if self._packs(weight) and not recorded else "forward"
        return ask(kind, rows_of(x), tuple(weight.shape), weight.dtype)

    def drop_packed(self) -> None:
        """Forget packed weights, and give their memory back."""
        self._packed = None

    def train(self, mode: bool = True) -> "Linear":
        self._packed = None
        return super().train(mode)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self._packed = None
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        self._packed = None
        super()._load_from_state_dict(*args, **kwargs)

    def __prepare_scriptable__(self) -> nn.Linear:
        """What torch.jit.script compiles in its place: a stock layer around the same Parameters."""
        plain = nn.Linear(self.in_features, self.out_features, device="meta").train(self.training)
        plain.weight, plain.bias = self.weight, self.bias
        return plain

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_packed": None}  # opaque to pickle and to copy
