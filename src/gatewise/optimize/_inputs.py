"""Inputs for an ONNX model: the user's own, or random ones of the declared types, shapes and value ranges."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from gatewise.core import GatewiseError, unknown_name
from gatewise.graphs import Graph, Kind

Feed = dict[str, NDArray[Any]]

_SAME = (Kind.CAST, Kind.COPY, Kind.RESHAPE)

LENGTH = 32
"""What a dimension of unknown size is, other than the first."""


def read_feed(path: Path, graph: Graph) -> Feed:
    """The arrays of an `.npz` file, one for each input of the model.

    Raises:
        GatewiseError: no such file, names that the model does not have or that are missing, other dtypes or shapes.
    """
    try:
        # An open file, because NumPy leaves one open that it cannot read.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            feed: Feed = {str(name): content[name] for name in content.files}
    except FileNotFoundError as error:
        raise GatewiseError(f"there is no file {str(path)!r}") from error
    except (OSError, ValueError, EOFError, AttributeError, BadZipFile) as error:
        raise GatewiseError(f"cannot read {path}: it must be an .npz file with one array for each input") from error
    for name in feed:
        if name not in graph.inputs:
            raise unknown_name(f"input in {path.name}", name, graph.inputs)
    missing = [name for name in graph.inputs if name not in feed]
    if missing:
        raise GatewiseError(f"{path} has no array for the model's input {', '.join(missing)}")
    for name, array in feed.items():
        _check(name, array, graph)
    return feed


def _check(name: str, array: NDArray[Any], graph: Graph) -> None:
    dtype, shape = graph.dtypes.get(name, ""), graph.shapes.get(name)
    if dtype and str(array.dtype) != dtype:
        raise GatewiseError(f"the input {name!r} is {dtype}, the data has {array.dtype}")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise GatewiseError(f"the data for the input {name!r} holds NaN, which equals nothing")
    fits = shape is None or (
        len(shape) == array.ndim and all(size in (None, given) for size, given in zip(shape, array.shape, strict=True))
    )
    if not fits:
        wanted = [size if size is not None else "any" for size in shape or ()]
        raise GatewiseError(f"the input {name!r} has shape {wanted}, the data has {list(array.shape)}")


def random_feeds(graph: Graph, batch: int, *, seed: int) -> Iterator[Feed]:
    """Random inputs of a batch, the boldest first: integers up to the size of the table that they index, then below 2.

    Floats are standard normal. Which integers a model takes is not written in it, so the caller tries them in turn.
    """
    for bold in (True, False):
        rng = np.random.default_rng(seed)
        yield {name: _random(rng, name, graph, batch, bold=bold) for name in graph.inputs}


def _random(rng: np.random.Generator, name: str, graph: Graph, batch: int, *, bold: bool) -> NDArray[Any]:
    declared = graph.shapes.get(name)
    if declared is None:
        raise GatewiseError(f"the model does not say how many dimensions its input {name!r} has; give --data FILE.npz")
    shape = [size if size is not None else batch if place == 0 else LENGTH for place, size in enumerate(declared)]
    dtype = graph.dtypes.get(name, "float32")
    if dtype == "bool":
        return np.ones(shape, dtype=bool)
    if dtype.startswith(("int", "uint")):
        return rng.integers(0, _rows(name, graph) if bold else 2, size=shape, dtype=np.dtype(dtype))
    if dtype in ("float16", "float32", "float64"):
        return rng.standard_normal(shape).astype(dtype)
    raise GatewiseError(f"random values of {dtype} cannot be made for the input {name!r}; give --data FILE.npz")


def _rows(name: str, graph: Graph) -> int:
    """One more than the largest index that an integer input may hold, else 2.

    It is looked up in a table (the table's rows), compared with a list of all valid numbers, or made one-hot.
    """
    sizes: list[int] = []
    seen, waiting = {name}, [name]
    while waiting:
        for node in graph.consumers.get(waiting.pop(), ()):
            constants = [graph.constants[other] for other in node.inputs if other in graph.constants]
            if node.op.endswith("Gather") and node.inputs[0] in graph.constants:
                sizes.append(graph.constants[node.inputs[0]].shape[0])
            elif node.op.endswith("Equal") and any(constant.size > 1 for constant in constants):
                sizes.append(max(constant.size for constant in constants))
            elif node.kind in _SAME and node.output not in seen:
                seen.add(node.output)
                waiting.append(node.output)
    return min(sizes, default=2)


def batches(graph: Graph) -> tuple[int, ...]:
    """Batch sizes to check: 1 and 8, or the one that every first dimension fixes."""
    first: Mapping[str, int | None] = {
        name: shape[0] for name in graph.inputs if (shape := graph.shapes.get(name)) is not None and shape
    }
    fixed = {size for size in first.values() if size is not None}
    return (1, 8) if not fixed else (max(fixed),)
