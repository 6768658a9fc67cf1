"""Headers of safetensors files: read as the safetensors package reads them, and refused where they are wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from gatewise.core import GatewiseError
from gatewise.graphs._dtypes import num_bytes, values
from gatewise.graphs._weights import content_hash, read_safetensors_header, read_weights

TENSORS = {
    "a": np.arange(12, dtype=np.float32).reshape(3, 4),
    "b": np.array([1.5, -2], dtype=np.float16),
    "c": np.array(7, dtype=np.int64),
    "empty": np.zeros((0, 4), dtype=np.float32),
    "flags": np.array([True, False]),
}


def _file(path: Path, header: Any, body: bytes) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + body)
    return path


def test_a_header_says_what_the_package_says(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "m.safetensors", metadata={"format": "np"})
    found = {tensor.name: tensor for tensor in read_safetensors_header(tmp_path / "m.safetensors")}
    theirs = load_file(tmp_path / "m.safetensors")
    assert set(found) == set(theirs)
    for name, expected in theirs.items():
        tensor = found[name]
        assert (tensor.shape, tensor.dtype, tensor.num_bytes) == (expected.shape, expected.dtype.name, expected.nbytes)
        np.testing.assert_array_equal(tensor.load(), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_every_value_of_a_narrow_dtype_is_read_as_torch_reads_it(dtype: torch.dtype, tmp_path: Path) -> None:
    codes = torch.arange(2**16).to(torch.int32).to(torch.uint16) if dtype == torch.bfloat16 else torch.arange(256)
    stored = (codes if dtype == torch.bfloat16 else codes.to(torch.uint8)).view(dtype)
    save_torch({"x": stored}, tmp_path / "m.safetensors")
    (tensor,) = read_safetensors_header(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(tensor.load(), stored.float().numpy())


def test_narrow_numbers_are_taken_from_the_lowest_bits() -> None:
    np.testing.assert_array_equal(values(b"\x8f\x01", "int4", (3,)), [-1, -8, 1])
    np.testing.assert_array_equal(values(b"\x8f\x01", "uint4", (3,)), [15, 8, 1])
    np.testing.assert_array_equal(values(b"\xe4", "uint2", (4,)), [0, 1, 2, 3])
    assert (num_bytes("int4", 3), num_bytes("float16", 3), num_bytes("string", 3)) == (2, 6, 0)


def test_the_hash_depends_on_content_alone(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "m.safetensors")
    first = content_hash(read_weights(tmp_path))
    shards = tmp_path / "shards"
    shards.mkdir()
    names = {"a": "one.safetensors", **dict.fromkeys(("b", "c", "empty", "flags"), "two.safetensors")}
    for file in set(names.values()):
        save_file({n: TENSORS[n] for n in TENSORS if names[n] == file}, shards / file, metadata={"by": "us"})
    (shards / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert content_hash(read_weights(shards)) == first
    save_file({**TENSORS, "c": np.array(8, dtype=np.int64)}, tmp_path / "m.safetensors")
    assert content_hash(read_weights(tmp_path)) != first


def _entry(start: int, end: int, shape: Any = (2,), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("header", "body", "words"),
    [
        ({"a": _entry(0, 8)}, 4, "cut off"),
        ({"a": _entry(0, 8)}, 12, "belong to no tensor"),
        ({"a": _entry(0, 8), "b": _entry(4, 12)}, 12, "does not start where"),
        ({"a": _entry(0, 8), "b": _entry(12, 20)}, 20, "does not start where"),
        ({"a": _entry(0, 12)}, 12, "needs 8 bytes and has 12"),
        ({"a": _entry(8, 0)}, 8, "needs 8 bytes"),
        ({"a": _entry(0, 8, (-2,))}, 8, "whole numbers"),
        ({"a": _entry(0, 8, (True, 2))}, 8, "whole numbers"),
        ({"a": _entry(0, 8, (2,), "F99")}, 8, "'F99'"),
        ({"a": {"dtype": "F32"}}, 8, "no dtype, shape and data_offsets"),
        ({"a": 3}, 8, "no dtype, shape and data_offsets"),
        (b'{"a": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}, "a": {}}', 8, "twice"),
        (b"[1, 2, 3]", 0, "not a JSON object"),
        (b'{"a": ', 0, "header is not valid"),
        (b"{\xff\xfe}", 0, "header is not valid"),
        (b"[" * 100_000, 0, "header is not valid"),
        ({"a": _entry(0, 8), "empty": _entry(4, 4, (0,))}, 8, "does not start where"),
    ],
)
def test_a_wrong_header_is_refused(header: Any, body: int, words: str, tmp_path: Path) -> None:
    path = _file(tmp_path / "m.safetensors", header, b"\0" * body)
    with pytest.raises(GatewiseError) as caught:
        read_safetensors_header(path)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "m.safetensors", "no such file"), (tmp_path, "is a folder")):
        with pytest.raises(GatewiseError, match=words):
            read_safetensors_header(path)
    with pytest.raises(GatewiseError, match=r"no \.safetensors file"):
        read_weights(tmp_path)
    (tmp_path / "m.safetensors").write_bytes(b"PK\x03\x04" * 10)
    with pytest.raises(GatewiseError, match="not a whole safetensors file"):
        read_weights(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x.safetensors"}}')
    with pytest.raises(GatewiseError, match="outside the model's folder"):
        read_weights(tmp_path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_truncation_is_refused(data: Any, tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "whole.safetensors")
    content = (tmp_path / "whole.safetensors").read_bytes()
    (tmp_path / "m.safetensors").write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(GatewiseError):
        read_safetensors_header(tmp_path / "m.safetensors")
