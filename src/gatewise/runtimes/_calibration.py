"""Calibration inputs for static quantisation, as engines take them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from gatewise.core import GatewiseError, unknown_name

from ._inputs import Inputs, flat, names, rebuilt
from ._runtime import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

BATCH = 32
"""Items in one call of a user's own calibration inputs."""


def feeds(task: Task) -> Iterator[dict[str, Any]]:
    """Each calibration input as arrays by name."""
    for inputs in task.calibration:
        yield {name: tensor.numpy() for name, tensor in zip(names(task.example), flat(inputs), strict=True)}


def calibration_hash(task: Task) -> str:
    """What a quantised file depends on beside the model."""
    digest = hashlib.sha256()
    for inputs in task.calibration:
        for tensor in flat(inputs):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def told(task: Task) -> str:
    """How much was calibrated on, for the record."""
    items = sum(len(flat(inputs)[0]) for inputs in task.calibration)
    return f"ranges calibrated on {items} items that no quality or output difference is taken on"


def read_calibration(path: Path, like: Inputs) -> list[Inputs]:
    """A user's own calibration inputs: an `.npz` file with an array for each input, by name, one row per item.

    `like` is one call's inputs: names (the keys of a dict; else `input_0`, `input_1`, ...), dtypes and sizes beyond the
    first dimension come from it. Token ids and masks, two-dimensional whole numbers, may have any length.

    Returns:
        Calls of at most 32 items each.

    Raises:
        GatewiseError: no such file, other names, dtypes or shapes, arrays of different lengths, no items, a NaN.
    """
    tensors = dict(zip(names(like), flat(like), strict=True))
    arrays = _arrays(path)
    for name in arrays:
        if name not in tensors:
            raise unknown_name(f"input in {path.name}", name, tensors)
    missing = [name for name in tensors if name not in arrays]
    if missing:
        raise GatewiseError(f"{path} has no array for the model's input {', '.join(missing)}")
    found = [_checked(path, name, arrays[name], tensor) for name, tensor in tensors.items()]
    sizes = sorted({len(tensor) for tensor in found})
    if len(sizes) > 1 or sizes == [0]:
        raise GatewiseError(f"{path}: every input needs the same number of items, above 0, not {sizes}")
    starts = range(0, sizes[0], BATCH)
    return [rebuilt(like, [tensor[start : start + BATCH] for tensor in found]) for start in starts]


def _arrays(path: Path) -> "dict[str, NDArray[Any]]":
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as content:
            return {str(name): content[name] for name in content.files}
    except (OSError, ValueError, EOFError, AttributeError, BadZipFile) as error:
        raise GatewiseError(f"cannot read {path}: it must be an .npz file with one array for each input") from error


def _checked(path: Path, name: str, array: "NDArray[Any]", like: "Tensor") -> "Tensor":
    import torch

    wanted = str(like.dtype).removeprefix("torch.")
    if str(array.dtype) != wanted:
        raise GatewiseError(f"{path}: the input {name!r} is {wanted}, the calibration data has {array.dtype}")
    tokens = like.dim() == 2 and not like.is_floating_point()
    if array.ndim != like.dim() or (not tokens and tuple(array.shape[1:]) != tuple(like.shape[1:])):
        shape = ["items", *(["any"] if tokens else map(str, like.shape[1:]))]
        given = " x ".join(map(str, array.shape))
        raise GatewiseError(
            f"{path}: the input {name!r} has shape {' x '.join(shape)}, the calibration data has {given}"
        )
    found = torch.from_numpy(array)
    if not torch.isfinite(found).all():
        raise GatewiseError(f"{path}: the input {name!r} holds NaN or an infinite number; a range has neither")
    return found
