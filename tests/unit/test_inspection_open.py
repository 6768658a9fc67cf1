"""What can be inspected, with data and without torch, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from planted_models import clamped, export, gelu, inputs, net, reference, swiglu
from safetensors.torch import save_file
from torch import Tensor, nn

from gatewise import surgery
from gatewise.core import GatewiseError
from gatewise.inspection import against, inspect

WITHOUT_TORCH = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
from gatewise.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def without_torch(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(reference(), tmp_path_factory.mktemp("onnx") / "reference.onnx", items=4, dynamo=False)


def test_document_of_a_module() -> None:
    document = inspect(reference(), inputs=inputs()).to_json()
    json.dumps(document, allow_nan=False)
    assert document["schema"] == "gatewise.inspect/1"
    assert [site["identity"] for site in document["sites"]] == ["gelu"] * 3 + ["swiglu"] * 3 + [None]
    assert {site["how"] for site in document["sites"]} == {"probed"}
    assert document["sites"][6]["settings"] == {"high": 7.0, "up_low": -7.0, "up_high": 7.0}
    assert [site["gate_part"] for site in document["sites"]] == [None] * 5 + [[0, 2], [0, 2]]
    expected = sum(parameter.numel() for parameter in reference().parameters())
    assert document["totals"]["parameters"] == expected
    assert document["totals"]["bytes"] == 4 * expected
    for key in ("path", "identity", "distance", "fused", "parameters", "flops", "bytes"):
        assert all(key in site for site in document["sites"])


def test_openvino_says_the_same_as_onnx(onnx_file: Path, tmp_path: Path) -> None:
    openvino.save_model(openvino.convert_model(str(onnx_file)), str(tmp_path / "m.xml"), compress_to_fp16=False)
    found = inspect(tmp_path / "m.xml")
    assert found.format == "openvino"
    assert against(inspect(onnx_file), found).mismatches == ()


def test_function_of_a_package_and_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "return nn.Sequential(nn.Linear(4, 8), nn.Mish()), torch.ones(3, 4)"
    code = f"import torch\nfrom torch import nn\ndef make():\n    {body}\n"
    (tmp_path / "inspected_here.py").write_text(code, encoding="utf-8")
    (tmp_path / "inspected_there.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert [site.found.name for site in inspect("inspected_here:make").sites] == ["mish"]
    assert [site.found.name for site in inspect(f"{tmp_path}/inspected_there.py:make").sites] == ["mish"]


def test_metric_of_a_workload_is_no_part_of_the_model() -> None:
    found = inspect("byte-lm")
    assert [(site.path, site.found.name) for site in found.sites] == [
        ("blocks.0.ffn.act", "gelu"),
        ("blocks.1.ffn.act", "gelu"),
    ]
    assert all(found.seen[site.output]["units"] == site.width for site in found.sites)


class Dead(nn.Module):
    """Units 0 and 3 of 8 are never on; unit 5 is on for one item of the second batch."""

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.up = nn.Linear(2, 8)
        self.act = act
        with torch.no_grad():
            self.up.weight.zero_()
            self.up.weight[5, 0] = 1.0
            self.up.bias.copy_(torch.tensor([-1.0, 1.0, 1.0, -2.0, 1.0, -50.0, 1.0, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.up(x))


def dead_data(path: Path, name: str) -> Path:
    rows = np.zeros((40, 2), dtype=np.float32)
    rows[39, 0] = 60.0
    np.savez(path, **{name: rows})
    return path


def test_dead_units_of_a_module(tmp_path: Path) -> None:
    data = dead_data(tmp_path / "data.npz", "input0")
    found = inspect(Dead(nn.ReLU()), inputs=torch.zeros(1, 2), data=data)
    (seen,) = found.seen.values()
    assert (seen["dead_units"], seen["units"], seen["min"], seen["max"]) == (2, 8, -50.0, 10.0)
    assert found.data == "40 items given"
    (smooth,) = inspect(Dead(nn.GELU()), inputs=torch.zeros(1, 2), data=data).seen.values()
    assert smooth["dead_units"] is None
    assert smooth["inputs"][0]["never_positive"] == 2


def test_dead_units_of_an_onnx_file(tmp_path: Path) -> None:
    export(Dead(nn.ReLU()).eval(), tmp_path / "dead.onnx", example=torch.zeros(1, 2), any_items=True)
    found = inspect(tmp_path / "dead.onnx", data=dead_data(tmp_path / "data.npz", "x"))
    (seen,) = found.seen.values()
    assert (seen["dead_units"], seen["units"], seen["min"], seen["max"]) == (2, 8, -50.0, 10.0)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"y": np.zeros((4, 16), np.float32)}, "lacks x"),
        ({"x": np.zeros((4, 16), np.float32), "y": np.zeros(4, np.float32)}, "does not take"),
        ({"x": np.zeros((4, 15), np.float32)}, "shape"),
        ({"x": np.zeros(4, np.float32)}, "shape"),
        ({"x": np.zeros((4, 16), np.int64)}, "dtype int64"),
        ({"x": np.zeros((0, 16), np.float32)}, "no items"),
        ({"x": np.zeros((3, 16), np.float32)}, "no multiple"),
        ({}, "no arrays"),
    ],
)
def test_data_that_does_not_fit(onnx_file: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(GatewiseError, match=said):
        inspect(onnx_file, data=arrays)


def test_data_files_that_are_none(onnx_file: Path, tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no zip")
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    for name in ("text.npz", "one.npy", "objects.npz", "missing.npz"):
        with pytest.raises(GatewiseError):
            inspect(onnx_file, data=tmp_path / name)


@pytest.mark.parametrize("name", ["m.pt", "m.pth", "m.pkl", "m.bin", "m.pt2"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(GatewiseError, match="could run code"):
        inspect(tmp_path / name)


@pytest.mark.parametrize("name", ["", "sentence-encodr", "no/such/folder", "gone.onnx", "gone.xml", "gone.safetensors"])
def test_what_is_not_there(name: str) -> None:
    with pytest.raises(GatewiseError) as error:
        inspect(name)
    assert len(str(error.value).splitlines()) <= 2


def test_weights_alone_are_refused(tmp_path: Path) -> None:
    save_file({"w": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(GatewiseError, match="holds weights only"):
        inspect(tmp_path / "w.safetensors")


def test_module_needs_inputs() -> None:
    with pytest.raises(GatewiseError, match="needs inputs="):
        inspect(nn.ReLU())


def test_onnx_without_torch(onnx_file: Path) -> None:
    done = without_torch("inspect", str(onnx_file), "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [site["identity"] for site in document["sites"]] == ["gelu"] * 3 + ["swiglu"] * 3 + [None]
    assert done.stderr == ""


def test_folder_without_torch_is_declared(tmp_path: Path) -> None:
    model, _ = surgery.swap(nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8)), "gelu_tanh")
    folder = surgery.save(model, tmp_path / "model")
    assert [site.found.name for site in inspect(folder).sites] == ["gelu_tanh"]
    done = without_torch("inspect", str(folder / "model.safetensors"), "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (site,) = document["sites"]
    assert (site["path"], site["identity"], site["how"], site["distance"]) == ("1", "gelu_tanh", "declared", None)
    assert site["reason"] == "declared by the recipe, not probed: torch is not installed"
    assert document["totals"]["parameters"] == 8 * 32 + 32 + 32 * 8 + 8


@pytest.mark.parametrize(
    ("act", "tensors", "paths", "names"),
    [
        (
            "gelu",
            {"layer.0.intermediate.dense.weight": (32, 8), "layer.0.output.dense.weight": (8, 32)},
            ["layer.0.intermediate"],
            ["gelu"],
        ),
        (
            "silu",
            {f"layers.0.mlp.{name}.weight": (8, 32) if name == "down_proj" else (32, 8)
             for name in ("gate_proj", "up_proj", "down_proj")},
            ["layers.0.mlp"],
            ["swiglu"],
        ),
        ("mystery", {"layer.0.fc1.weight": (32, 8)}, ["layer.0"], [None]),
    ],
)  # fmt: skip
def test_config_without_torch_is_declared(
    tmp_path: Path, act: str, tensors: dict[str, tuple[int, ...]], paths: list[str], names: list[str | None]
) -> None:
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, tmp_path / "model.safetensors")
    config = {"hidden_act": act, "intermediate_size": 32, "hidden_size": 8}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    done = without_torch("inspect", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    sites = json.loads(done.stdout)["sites"]
    assert [site["path"] for site in sites] == paths
    assert [site["identity"] for site in sites] == names
    assert [site["width"] for site in sites] == [32]


def test_live_model_without_torch_says_so() -> None:
    done = without_torch("inspect", "byte-lm")
    assert done.returncode == 2
    assert "torch is not installed" in done.stderr
    assert done.stdout == ""


def test_graph_says_what_the_module_says(onnx_file: Path) -> None:
    live = inspect(net([gelu] * 3, [swiglu] * 2, [swiglu, clamped]), inputs=inputs())
    stored = inspect(onnx_file)
    assert [site.parameters for site in live.sites] == [site.parameters for site in stored.sites]
    assert [site.bytes for site in live.sites] == [site.bytes for site in stored.sites]
    assert [site.flops for site in live.sites] == [site.flops for site in stored.sites]
