"""Autograd of an operator, of any order and under torch.func's transforms.

`torch.library.register_autograd` is not used: the function that it makes has no `setup_context`, which functorch asks
for where transforms are nested, as in vmap(grad(f)). What is used instead are private names of torch.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch._functorch.utils import enable_single_level_autograd_function

_below_autograd = torch._C._AutoDispatchBelowAutograd
_any_requires_grad = torch._C._any_requires_grad
_transforms_active = torch._C._are_functorch_transforms_active


def differentiable(library: torch.library.Library, op: Any, num_tensors: int, gradient: Callable[..., Any]) -> None:
    """Register the Autograd kernel of `op(*tensors, high)`: its gradient is `gradient(*grads, *tensors, high)`."""

    class Function(torch.autograd.function._SingleLevelFunction):
        @staticmethod
        def forward(*args: Any) -> Any:
            with _below_autograd():
                return op(*args)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            ctx.save_for_backward(*inputs[:num_tensors])
            ctx.high = inputs[num_tensors]

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return *gradient(*grads, *ctx.saved_tensors, ctx.high), None

    def kernel(*args: Any) -> Any:
        if len(args) == num_tensors:
            args = (*args, False)
        if torch.is_grad_enabled() and _any_requires_grad(*args):
            if _transforms_active():  # of the levels below: this one is being handled here
                with enable_single_level_autograd_function():
                    return Function.apply(*args)
            return Function.apply(*args)
        with _below_autograd():
            return op(*args)

    library.impl(op, kernel, "Autograd")
