"""OpenVINO IR files: the XML, guarded, and the weights beside it, read when asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from gatewise.core import GatewiseError

from ._dtypes import BITS, num_bytes, values

VERSIONS = (10, 11)
NEWEST_OPSET = 17
_NAMES = {
    "boolean": "bool",
    "bf16": "bfloat16",
    "bin": "uint1",
    "f4e2m1": "float4e2m1",
    "f8e4m3": "float8e4m3fn",
    "f8e5m2": "float8e5m2",
    "f8e8m0": "float8e8m0",
    **{f"f{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"fp{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"i{bits}": f"int{bits}" for bits in (2, 4, 8, 16, 32, 64)},
    **{f"u{bits}": f"uint{bits}" for bits in (1, 2, 4, 8, 16, 32, 64)},
}


def dtype_name(precision: str) -> str:
    """`FP32` or `f32` as float32; what is not known stays as it is."""
    lowered = precision.lower()
    return _NAMES.get(lowered, "bool" if lowered == "bool" else lowered)


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a document type: an IR has none, and its entities could fill the memory."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise GatewiseError("it has a document type, which an OpenVINO IR never has")


@dataclass(frozen=True, kw_only=True, eq=False)
class IrFile:
    """A parsed IR.

    Attributes:
        net: the root element.
        weights: the file beside the XML.
        held: its size in bytes; None where it is not there.
    """

    path: Path
    net: ElementTree.Element
    weights: Path
    held: int | None

    def constant(self, data: Mapping[str, str], label: str) -> tuple[tuple[int, ...], str, Callable[[], NDArray[Any]]]:
        """Shape, dtype and values of a Const. Raises `GatewiseError` where the weights are missing or too short."""
        dtype = dtype_name(data.get("element_type", ""))
        shape = sizes(data.get("shape", ""))
        offset, length = int(data.get("offset", "0")), int(data.get("size", "0"))
        if any(size < 0 for size in shape) or (dtype not in BITS and dtype != "string"):
            raise GatewiseError(f"{self.path}: the constant {label!r} has no known dtype and shape ({dtype}, {shape})")
        if self.held is None:
            raise GatewiseError(f"{self.path} keeps its weights in {self.weights.name!r}, which is missing beside it")
        wanted = length if dtype == "string" else num_bytes(dtype, int(np.prod(shape, dtype=np.float64)))
        if offset < 0 or length < wanted or offset + wanted > self.held:
            raise GatewiseError(
                f"{self.weights} has {self.held:,} bytes; the constant {label!r} needs {wanted:,} from byte {offset:,} "
                f"on (declared: {length:,}): it is cut off or belongs to another model"
            )

        def load() -> NDArray[Any]:
            with self.weights.open("rb") as stream:
                stream.seek(offset)
                return values(stream.read(wanted), dtype, shape)

        return shape, dtype, load


def sizes(text: str) -> tuple[int, ...]:
    """`1, 32` as (1, 32), free ones as -1."""
    return tuple(int(part) if part.strip().lstrip("-").isdigit() else -1 for part in text.split(",") if part.strip())


def open_ir(path: Path, raw: bytes) -> IrFile:
    """Parse an IR. Raises `GatewiseError` where it is none, is cut off, or has a version that is not known."""
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        net = ElementTree.fromstring(raw, parser=parser)
    except GatewiseError as error:
        raise GatewiseError(f"{path} is not read: {error}") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise GatewiseError(f"{path} is not a whole XML file: {error}; give the .xml file of an OpenVINO IR") from None
    layers = net.find("layers")
    if net.tag != "net" or layers is None or net.find("edges") is None:
        raise GatewiseError(f"{path} is XML but not an OpenVINO IR: no <net> with <layers> and <edges>")
    version = net.get("version", "")
    if version not in {str(known) for known in VERSIONS}:
        raise GatewiseError(
            f"{path} has IR version {version or '(none)'}; known: {' and '.join(str(known) for known in VERSIONS)}"
        )
    weights = path.with_suffix(".bin")
    held = weights.stat().st_size if weights.is_file() else None
    return IrFile(path=path, net=net, weights=weights, held=held)
