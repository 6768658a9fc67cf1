"""Data for a model: arrays by the names of its inputs, one row per item."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from gatewise.core import GatewiseError

Arrays = Mapping[str, NDArray[Any]]


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a `.npz` file, by name; nothing in it is unpickled.

    Raises:
        GatewiseError: no such file, no `.npz`, objects in it, no arrays, or different numbers of items.
    """
    try:
        with path.open("rb") as stream:  # NumPy leaves a file open that it cannot read
            stored: Any = np.load(stream, allow_pickle=False)
            if isinstance(stored, np.ndarray):
                raise GatewiseError(f"{path} is a single array; save with np.savez(FILE, NAME=ARRAY), one an input")
            arrays = {str(name): np.asarray(stored[name]) for name in stored.files}
    except FileNotFoundError as error:
        raise GatewiseError(f"there is no file {str(path)!r}") from error
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise GatewiseError(f"{path} is no .npz file of plain arrays: {str(error).splitlines()[0]}") from error
    return check_arrays(arrays, str(path))


def check_arrays(arrays: Arrays, where: str) -> dict[str, NDArray[Any]]:
    """Arrays with one row per item, the same number in all. Raises `GatewiseError` otherwise."""
    if not arrays:
        raise GatewiseError(f"{where} holds no arrays")
    for name, array in arrays.items():
        if array.ndim == 0 or not len(array):
            raise GatewiseError(f"{where}: {name!r} has no items; its first dimension counts them")
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) != 1:
        raise GatewiseError(f"{where}: different numbers of items: {counts}")
    return dict(arrays)


def check_names(arrays: Arrays, wanted: "list[str] | tuple[str, ...]", where: str) -> None:
    """Whether the arrays are those that the model takes. Raises `GatewiseError` otherwise."""
    missing = [name for name in wanted if name not in arrays]
    extra = [name for name in arrays if name not in wanted]
    if missing or extra:
        wrong = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(extra)}, which the model does not take"
        raise GatewiseError(f"the data {wrong}\n{where} takes: {', '.join(wanted)}")


def as_dtype(name: str, array: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The array in the model's dtype, where that is of the same sort. Raises `GatewiseError` otherwise."""
    wanted = np.dtype("float32" if dtype == "bfloat16" else dtype)
    sorts = {"f": "f", "i": "i", "u": "i", "b": "b"}
    if sorts.get(array.dtype.kind) != sorts.get(wanted.kind):
        raise GatewiseError(f"{name!r} has the dtype {array.dtype.name}, the model takes {dtype}")
    return array.astype(wanted, copy=False)
