"""What a tensor that is given for the result, `out=`, has to be."""

import torch
from torch import Tensor

from gatewise.core import GatewiseError

from ._autograd import dual_level, has_tangent, transformed


def check_out(name: str, inputs: tuple[Tensor, ...], out: Tensor) -> None:
    """Raises `GatewiseError` where the result of `inputs` cannot go to `out`; overlaps are looked for elsewhere."""
    first = inputs[0]
    if not isinstance(out, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise GatewiseError(f"{name}: out must be a tensor, got {type(out).__name__}")
    for each in (*inputs, out):
        if each.is_nested or each.layout != torch.strided:
            raise GatewiseError(f"{name}: out= is for dense tensors, got {'nested' if each.is_nested else each.layout}")
    if out.shape != first.shape or out.dtype != first.dtype:
        wanted, got = f"{list(first.shape)} of {first.dtype}", f"{list(out.shape)} of {out.dtype}"
        raise GatewiseError(f"{name}: out must be {wanted}, got {got}")
    if out.device != first.device:
        raise GatewiseError(f"{name}: out must be on {first.device}, got {out.device}")
    if torch.is_grad_enabled() and any(each.requires_grad for each in (*inputs, out)):
        raise GatewiseError(f"{name}: out= records no gradient; leave it out, or call under torch.no_grad()")
    if dual_level() and (transformed() or any(has_tangent(each) for each in (*inputs, out))):
        raise GatewiseError(f"{name}: out= carries no forward-mode derivative; leave it out")
