"""Inputs and outputs of a version in the words of the Open Inference Protocol, and arrays checked against them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError

if TYPE_CHECKING:
    import numpy as np

Arrays = Mapping[str, "np.ndarray"]
DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
_DTYPES = {datatype: dtype for dtype, datatype in DATATYPES.items()}
FREE = -1


@dataclass(frozen=True, kw_only=True)
class Port:
    """One input or output: its type in the protocol's words, its shape with -1 where any size goes, batch first."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As a manifest keeps it."""
        return {**asdict(self), "shape": list(self.shape)}


def ports_of(calls: Sequence[Arrays]) -> tuple[Port, ...]:
    """The ports that several calls went through: a size is free where it differs between them, the first one always.

    Raises:
        GatewiseError: a type that the protocol does not have.
    """
    found: list[Port] = []
    for name, first in calls[0].items():
        if str(first.dtype) not in DATATYPES:
            raise GatewiseError(f"{name!r} has the type {first.dtype}, which cannot be served")
        sizes = [
            {call[name].shape[axis] if call[name].ndim > axis else FREE for call in calls} for axis in range(first.ndim)
        ]
        shape = tuple(FREE if axis == 0 or len(each) > 1 else int(each.pop()) for axis, each in enumerate(sizes))
        found.append(Port(name=name, datatype=DATATYPES[str(first.dtype)], shape=shape))
    return tuple(found)


def port(entry: Mapping[str, Any]) -> Port:
    """A port of a manifest."""
    return Port(name=entry["name"], datatype=entry["datatype"], shape=tuple(entry["shape"]))


class Gatekeeper:
    """Lets arrays through that fit the ports, and says what is wrong with others; prepared once, quick in each call."""

    def __init__(self, ports: Sequence[Port]) -> None:
        import numpy as np

        self._wanted = [
            (port, np.dtype(_DTYPES[port.datatype]), [(at, size) for at, size in enumerate(port.shape) if size != FREE])
            for port in ports
        ]

    def check(self, arrays: Arrays) -> None:
        """Raises `GatewiseError` for a missing or unknown name, another type or shape, or rows that differ."""
        rows: int | None = None
        for port, dtype, fixed in self._wanted:
            array = arrays.get(port.name)
            if array is None:
                raise GatewiseError(f"the input {port.name!r} is missing\nvalid: {self._names()}")
            shape = array.shape
            if array.dtype != dtype:
                raise GatewiseError(f"the input {port.name!r} has the type {array.dtype}, not {dtype}")
            if len(shape) != len(port.shape) or any(shape[at] != size for at, size in fixed) or not all(shape):
                raise GatewiseError(
                    f"the input {port.name!r} has the shape {list(shape)}, not {list(port.shape)} (-1: 1 or more)"
                )
            if rows is not None and shape[0] != rows:
                raise GatewiseError(f"the inputs have different numbers of rows: {rows} and {shape[0]}")
            rows = shape[0]
        if len(arrays) != len(self._wanted):
            known = {port.name for port, _, _ in self._wanted}
            strange = ", ".join(repr(name) for name in arrays if name not in known)
            raise GatewiseError(f"there is no input {strange}\nvalid: {self._names()}")

    def _names(self) -> str:
        return ", ".join(port.name for port, _, _ in self._wanted)
