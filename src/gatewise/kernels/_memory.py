"""Whether an output and an input share memory, from what torch tells of two tensors."""

from torch import Tensor
from torch.nn.parameter import Parameter


def overlap(one: Tensor, other: Tensor) -> bool:
    """May two tensors have a number in common? Column blocks of one matrix do not, where both lie row by row."""
    if not one.numel() or not other.numel():
        return False
    if one.untyped_storage().data_ptr() != other.untyped_storage().data_ptr():
        return False
    first, second = sorted((one, other), key=Tensor.storage_offset)
    apart = second.storage_offset() - first.storage_offset()
    if apart > sum((size - 1) * step for size, step in zip(first.shape, first.stride(), strict=True)):
        return False
    pitch = first.stride(0)
    if first.ndim != 2 or second.ndim != 2 or pitch < 1 or second.stride() != (pitch, 1) or first.stride(1) != 1:
        return True
    return not first.shape[1] <= apart % pitch <= pitch - second.shape[1]


def overlaps(out: Tensor, x: Tensor) -> bool:
    """May `out` share numbers with x without being x? For tensors of one shape, of any number of dimensions."""
    if x.device.type == "meta" or type(x) not in (Tensor, Parameter) or type(out) not in (Tensor, Parameter):
        return False  # no memory to look at
    if out.data_ptr() == x.data_ptr() and out.stride() == x.stride():
        return False
    return overlap(_rows(out), _rows(x))


def _rows(x: Tensor) -> Tensor:
    """x as a matrix, where it is one in memory."""
    if x.ndim < 3 or not x.numel():
        return x
    try:
        return x.view(-1, x.shape[-1])
    except RuntimeError:
        return x
