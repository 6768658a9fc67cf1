"""Broken, hostile and newer folders: one clear error each, and nothing in them is run."""

import json
import struct

import pytest
import torch
from torch import nn

from gatewise import surgery
from gatewise.core import GatewiseError
from gatewise.surgery._recipe import file_sha256
from gatewise.surgery._safetensors import lint


@pytest.fixture
def folder(tmp_path):
    model, _ = surgery.swap(nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)), "relu")
    return surgery.save(model, tmp_path / "model")


def change(folder, **parts):
    path = folder / "recipe.json"
    recipe = json.loads(path.read_text())
    for key, value in parts.items():
        if isinstance(value, dict) and isinstance(recipe.get(key), dict):
            recipe[key].update(value)
        else:
            recipe[key] = value
    path.write_text(json.dumps(recipe))


def resign(folder):
    """Make the recipe agree with the weights, as one who wrote both would."""
    path = folder / "model.safetensors"
    change(folder, weights={"sha256": file_sha256(path), "size_bytes": path.stat().st_size})


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"schema": "gatewise.recipe/2"}, "newer than this gatewise"),
        ({"schema": "something"}, "something"),
        ({"schema": None}, "schema"),
        ({"weight_state": "original"}, "did you mean 'weights_state'"),
        ({"weights_state": "good"}, "unknown weights state 'good'"),
        ({"edits": {}}, "'edits' must be a list"),
        ({"builder": {"name": "modulez"}}, "did you mean 'modules'"),
        ({"builder": {"extra": 1}}, "extra"),
        ({"builder": {"config": {"type": "Linear", "config": {"in_features": "x"}}}}, "cannot build"),
        ({"builder": {"config": {"type": "Popen", "config": {}}}}, "unknown module type 'Popen'"),
        ({"builder": {"config": {"type": "Sequential", "config": {}}}}, "do not fit the model"),
        ({"weights": {"file": "../model.safetensors"}}, "outside its folder"),
        ({"weights": {"file": "/etc/passwd"}}, "outside its folder"),
        ({"weights": {"file": ".."}}, "outside its folder"),
        ({"weights": {"file": "..\\x"}}, "outside its folder"),
        ({"weights": {"file": "other.safetensors"}}, "missing"),
        ({"weights": {"sha256": "0" * 64}}, "sha256 differs"),
        ({"weights": {"size_bytes": 3}}, "truncated or another file"),
        ({"weights": None}, "weights"),
        ({"tensors": {"aliases": {"0.weight": "nope"}}}, "nope"),
        ({"tensors": {"views": {"0.weight": "nope"}}}, "nope"),
        ({"tensors": {"layouts": {"0.weight": [0, 5]}}}, "memory layout"),
        ({"tensors": {"layouts": {"0.weight": "x"}}}, "do not fit|memory layout"),
        ({"edits": ["x"]}, "edit"),
        ({"edits": [{"paths": ["9"], "module": {"type": "Identity"}}]}, "does not fit the model"),
        ({"edits": [{"paths": ["1"], "module": {"type": "eval"}}]}, "unknown module 'eval'"),
        ({"edits": [{"paths": ["1"], "module": {"type": "Activation", "name": "evil"}}]}, "unknown"),
        ({"edits": [{"paths": ["1.forward"], "value": 1}]}, "does not fit|may not set"),
        ({"edits": [{"paths": ["1.training"], "value": True}]}, "may not set"),
        ({"edits": [{"paths": ["1"], "nothing": 1}]}, "does not fit"),
    ],
)
def test_a_spoilt_recipe_is_named(folder, parts, message):
    change(folder, **parts)
    with pytest.raises(GatewiseError, match=message) as caught:
        surgery.load(folder)
    assert len(str(caught.value).splitlines()) <= 2


def test_a_link_out_of_the_folder_is_refused(folder, tmp_path):
    (folder / "model.safetensors").rename(tmp_path / "away.safetensors")
    (folder / "model.safetensors").symlink_to(tmp_path / "away.safetensors")
    with pytest.raises(GatewiseError, match="outside its folder"):
        surgery.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": NaN}', "\x00", "[" * 100_000])
def test_a_recipe_that_is_no_recipe(folder, text):
    (folder / "recipe.json").write_text(text)
    with pytest.raises(GatewiseError, match=r"recipe\.json"):
        surgery.load(folder)


def test_a_tree_nested_without_end_is_refused(folder):
    node = {"type": "Sequential", "config": {}}
    for _ in range(300):
        node = {"type": "Sequential", "config": {}, "children": {"0": node}}
    change(folder, builder={"config": node})
    with pytest.raises(GatewiseError, match=r"deep|do not fit"):
        surgery.load(folder)


def test_folders_that_are_none(tmp_path):
    with pytest.raises(GatewiseError, match="no folder"):
        surgery.load(tmp_path / "nowhere")
    with pytest.raises(GatewiseError, match="no model folder"):
        surgery.load(tmp_path)


def test_missing_and_truncated_weights(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for length in (0, 7, 20, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(GatewiseError, match="truncated"):
            surgery.load(folder)
        resign(folder)
        with pytest.raises(GatewiseError, match="truncated"):
            surgery.load(folder)
    path.unlink()
    with pytest.raises(GatewiseError, match="missing"):
        surgery.load(folder)


def test_one_changed_bit_is_seen(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(GatewiseError, match="sha256"):
        surgery.load(folder)


def test_weights_of_another_model_do_not_fit(folder, tmp_path):
    other = surgery.save(nn.Sequential(nn.Linear(4, 9), nn.GELU(), nn.Linear(9, 4)), tmp_path / "other")
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    resign(folder)
    with pytest.raises(GatewiseError, match=r"'0.weight' is \[9, 4\], the model needs \[8, 4\]"):
        surgery.load(folder)


def write(path, header, num_bytes):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + b"\0" * num_bytes)
    return path


def entry(begin, end, shape=None, dtype="F32"):
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("header", "num_bytes", "message"),
    [
        (b'{"a":1,"a":2}', 0, "stands twice"),
        (b'{"a":{"dtype":"F32","dtype":"F32","shape":[],"data_offsets":[0,4]}}', 4, "stands twice"),
        (b"[]", 0, "no JSON object"),
        (b"{", 0, "no valid JSON"),
        (b"\xff\xfe", 0, "no valid JSON"),
        ({"a": entry(0, 8), "b": entry(4, 12)}, 12, "overlap"),
        ({"a": entry(0, 4), "b": entry(8, 12)}, 12, "belong to no tensor"),
        ({"a": entry(0, 4)}, 8, "belong to no tensor"),
        ({"a": entry(0, 8)}, 4, "truncated"),
        ({"a": entry(0, 8, shape=[3])}, 8, "do not fit its shape"),
        ({"a": entry(8, 4, shape=[])}, 8, "do not fit its shape"),
        ({"a": entry(0, 0), "b": entry(0, 0)}, 0, "empty and stand at one offset"),
        ({"a": entry(4, 4, shape=[0]), "b": entry(0, 8)}, 8, "overlap|empty"),
        ({"a": {"dtype": "F32", "shape": [1]}}, 4, "broken"),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, 4, "broken"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4.0]}}, 4, "broken"),
        ({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, 4, "broken"),
        ({"a": 3}, 4, "broken"),
    ],
)
def test_the_lint_of_a_header(header, num_bytes, message, tmp_path):
    with pytest.raises(GatewiseError, match=message):
        lint(write(tmp_path / "x.safetensors", header, num_bytes))


def test_the_lint_passes_what_the_library_writes(tmp_path):
    from safetensors.torch import save_file

    kinds = (torch.float16, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn)
    tensors = {str(i): torch.ones(i, 3).to(kind) for i, kind in enumerate(kinds)}
    save_file(tensors, tmp_path / "x.safetensors", metadata={"a": "b"})
    assert lint(tmp_path / "x.safetensors").keys() == tensors.keys()


def test_a_header_longer_than_the_format_allows(tmp_path):
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 100_000_001))
        file.truncate(100_000_100)
    with pytest.raises(GatewiseError, match="larger than the format allows"):
        lint(path)
