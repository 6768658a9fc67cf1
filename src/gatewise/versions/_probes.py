"""A few inputs with the outputs that they had when a version was registered, and whether it still gives them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gatewise.core import GatewiseError

from ._ports import Arrays

TOLERANCES = {"float32": 1e-4, "float64": 1e-4, "float16": 5e-3, "bfloat16": 5e-2, "lower": 1e-1}
"""How far an output may lie from the registered one, as a share of the largest registered number, by precision.

float32 allows for another machine, thread count or engine version, which add in another order, and for nothing more.
`lower` is for engines that compute in 8 bits or in bfloat16 inside: what they round differs between processors.
"""


def write_arrays(path: Path, calls: Sequence[Arrays]) -> None:
    """Arrays by name, of several calls, as safetensors."""
    from safetensors.numpy import save_file

    flat = {
        f"{at}/{name}": np.ascontiguousarray(array) for at, call in enumerate(calls) for name, array in call.items()
    }
    save_file(flat, path)


def read_arrays(path: Path) -> list[dict[str, np.ndarray]]:
    """The calls again. Raises `GatewiseError` for a damaged file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        flat = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise GatewiseError(f"{path} is damaged: {error}") from error
    calls: dict[int, dict[str, np.ndarray]] = {}
    for key, array in flat.items():
        at, _, name = key.partition("/")
        calls.setdefault(int(at), {})[name] = array
    return [calls[at] for at in sorted(calls)]


def far_apart(registered: Arrays, found: Arrays, tolerance: float) -> str:
    """What of some outputs is not as registered, in words; "" where all is."""
    for name, wanted in registered.items():
        got = found.get(name)
        if got is None or got.shape != wanted.shape:
            shape = "missing" if got is None else f"of shape {list(got.shape)}, not {list(wanted.shape)}"
            return f"the output {name!r} is {shape}"
        one, other = wanted.astype(np.float64), got.astype(np.float64)
        known = np.isfinite(one)
        if not np.array_equal(known, np.isfinite(other)):
            return f"the output {name!r} is not finite in other places"
        if not known.any():
            continue
        largest = float(np.abs(one[known]).max())
        apart = float(np.abs(other[known] - one[known]).max()) / (largest or 1.0)
        if apart > tolerance:
            return f"the output {name!r} differs by {apart:.1e} of its largest number, and {tolerance:.0e} is allowed"
    return ""
