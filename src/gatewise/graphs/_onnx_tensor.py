"""Tensors of an ONNX file, inside it or in files beside it: checked at once, read when asked for."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewise.core import GatewiseError

from ._draft import Draft
from ._dtypes import num_bytes
from ._layout import LARGEST

_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


@cache
def dtype_names() -> dict[int, str]:
    """ONNX's numbers of dtypes and their names here."""
    import onnx  # slow to import

    renamed = {"float": "float32", "double": "float64"}
    names = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
    return {number: renamed.get(name, name) for number, name in names.items() if name != "undefined"}


def add_tensor(draft: Draft, name: str, tensor: Any, path: Path) -> None:
    """Enter a TensorProto as a constant. Raises `GatewiseError` where its data is missing, short or elsewhere."""
    shape = tuple(int(dim) for dim in tensor.dims)
    dtype = dtype_names().get(tensor.data_type)
    if dtype is None:
        raise GatewiseError(f"{path}: the tensor {tensor.name!r} has a dtype ({tensor.data_type}) that is not known")
    if any(dim < 0 for dim in shape):
        raise GatewiseError(f"{path}: the tensor {tensor.name!r} has an impossible shape {list(shape)}")
    draft.add_constant(name, shape, dtype, _loader(tensor, shape, dtype, path))


def _loader(tensor: Any, shape: tuple[int, ...], dtype: str, path: Path) -> Callable[[], NDArray[Any]]:
    import onnx  # slow to import

    size = int(np.prod(shape, dtype=np.float64))
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return _external(tensor, num_bytes(dtype, size), path)
    if tensor.HasField("raw_data"):
        wanted, held, unit = num_bytes(dtype, size), len(tensor.raw_data), "bytes"
    else:
        wanted, held, unit = size, max(len(getattr(tensor, name)) for name in _FIELDS), "values"
        wanted = {"int4": (size + 1) // 2, "uint4": (size + 1) // 2, "float4e2m1": (size + 1) // 2}.get(dtype, wanted)
        wanted = {"int2": (size + 3) // 4, "uint2": (size + 3) // 4}.get(dtype, wanted)
        wanted = 2 * size if dtype.startswith("complex") else wanted
    if wanted != held and dtype != "string":
        raise GatewiseError(
            f"{path}: the tensor {tensor.name!r} should hold {wanted:,} {unit} and holds {held:,}: the file is damaged"
        )
    return lambda: plain(onnx.numpy_helper.to_array(tensor))


def _external(tensor: Any, wanted: int, path: Path) -> Callable[[], NDArray[Any]]:
    """Data in a file beside the model, and nowhere else."""
    import onnx  # slow to import

    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    file = _beside(path, location, tensor.name)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", wanted))
    except ValueError:
        raise GatewiseError(f"{path}: the tensor {tensor.name!r} has an offset or length that is no number") from None
    if not file.is_file():
        raise GatewiseError(f"{path} keeps weights in {location!r}, which is missing; it belongs into {path.parent}")
    held = file.stat().st_size
    if offset < 0 or length != wanted or offset + length > held:
        raise GatewiseError(
            f"{file} has {held:,} bytes; the tensor {tensor.name!r} needs {wanted:,} from byte {offset:,} on "
            f"(declared: {length:,}): it is cut off or belongs to another model"
        )

    def load() -> NDArray[Any]:
        with file.open("rb") as stream:
            stream.seek(offset)
            raw = stream.read(length)
        if len(raw) != length:
            raise GatewiseError(f"{file} became shorter while it was read")
        inside = onnx.TensorProto(dims=tensor.dims, data_type=tensor.data_type, raw_data=raw)
        return plain(onnx.numpy_helper.to_array(inside))

    return load


def _beside(path: Path, location: str, name: str) -> Path:
    """The file of that name in the model's folder. A link may lead to where the model's own leads, and no further."""
    folder = path.parent.resolve()
    given = Path(location)
    file = (path.parent / given).resolve()
    homes = (folder, path.resolve().parent)
    inside = any(file.is_relative_to(home) for home in homes)
    if not location or "\0" in location or given.is_absolute() or ".." in given.parts or "\\" in location or not inside:
        raise GatewiseError(
            f"{path}: the tensor {name!r} points at {location!r}, outside the model's folder; that is not followed"
        )
    return file


def plain(values: NDArray[Any]) -> NDArray[Any]:
    """Values in a dtype of NumPy's own: bfloat16 and eight-bit floats as float32, narrow integers as int8 or uint8."""
    name = values.dtype.name
    if name.startswith(("bfloat", "float4", "float8", "float6")):
        return values.astype(np.float32)
    if name in ("int4", "int2"):
        return values.astype(np.int8)
    if name in ("uint4", "uint2"):
        return values.astype(np.uint8)
    return values


def add_sparse(draft: Draft, name: str, sparse: Any, path: Path) -> None:
    """Enter a SparseTensorProto as the dense constant that it stands for."""
    import onnx  # slow to import

    shape = tuple(int(dim) for dim in sparse.dims)
    size = int(np.prod(shape, dtype=np.float64))
    if any(dim < 0 for dim in shape) or size > LARGEST:
        raise GatewiseError(f"{path}: the sparse tensor {name!r} has an impossible shape {list(shape)}")
    inside = Draft(source=str(path))
    add_tensor(inside, "values", sparse.values, path)
    add_tensor(inside, "indices", sparse.indices, path)

    def load() -> NDArray[Any]:
        stored, places = (plain(onnx.numpy_helper.to_array(part)) for part in (sparse.values, sparse.indices))
        dense = np.zeros(size, dtype=stored.dtype)
        flat = places if places.ndim == 1 else np.ravel_multi_index(tuple(places.T), shape)
        dense[flat] = stored
        return dense.reshape(shape)

    draft.add_constant(name, shape, inside.constants["values"].dtype, load)
