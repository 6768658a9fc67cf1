"""A call that runs forward and backward, for the timing loop."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gatewise.core import GatewiseError

Run = Callable[[nn.Module, Any], Tensor]


def with_backward(run: Run) -> Run:
    """`run` followed by the gradients of the sum of its output, by the parameters and by every floating input.

    Gradients start from nothing in each call and no optimiser follows: it is the cost of backpropagation alone. Where
    the model has no parameter to learn, as a bare activation, the inputs' gradients are all there is. The call works
    inside `torch.inference_mode` too, which it leaves for its own time.

    The call raises `GatewiseError` for a model that has neither parameters nor floating inputs.
    """

    def call(model: nn.Module, inputs: Any) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            tracked = _tracked(inputs)
            for parameter in model.parameters():
                parameter.grad = None
            output = run(model, tracked)
            if not output.requires_grad:
                raise GatewiseError("there is no gradient to time: neither parameters nor floating inputs take one")
            output.sum().backward()
        return output.detach()

    return call


def _tracked(inputs: Any) -> Any:
    """The same inputs, the floating ones as fresh leaves that take a gradient. No number is copied."""
    if isinstance(inputs, Tensor):
        return inputs.detach().requires_grad_() if inputs.is_floating_point() else inputs
    if isinstance(inputs, dict):
        return {key: _tracked(value) for key, value in inputs.items()}
    return tuple(_tracked(value) for value in inputs) if isinstance(inputs, tuple) else inputs
