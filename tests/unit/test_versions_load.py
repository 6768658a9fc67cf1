"""A version is served only where it is what was registered: its files, its sites, its outputs."""

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted_models import DIM, clamped, export, gelu, gelu_tanh, lost, net, nothing, swapped, swiglu
from torch import Tensor, nn
from torch.nn import functional

import gatewise.runtimes
from gatewise import surgery
from gatewise.core import GatewiseError
from gatewise.runtimes import Prepared, Task
from gatewise.versions import Port, RefusedError, Registration, Registry, Version, load, register
from gatewise.versions._execute import as_tensor
from gatewise.versions._objects import digest_of, file_hashes

ROWS = np.random.default_rng(0).standard_normal((5, DIM)).astype(np.float32)


def block() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(DIM, 48), nn.GELU(), nn.Linear(48, DIM), nn.SiLU(), nn.Linear(DIM, 4)).eval()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry", create=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return surgery.save(block(), tmp_path_factory.mktemp("models") / "block")


def put(registry: Registry, target: Path | str, version: str = "v1", **more: Any) -> Version:
    return register(registry, Registration(target=str(target), model="encoder", version=version, **more))


def forge(registry: Registry, version: Version, change: Callable[[Path], object]) -> None:
    """Change a version's files and every hash of them, in the object, in its name and in the database.

    What is left is what happens without any forger: the same files that another engine or library reads otherwise.
    """
    folder = registry.object(version.digest)
    change(folder)
    manifest = dict(version.manifest)
    manifest["files"] = file_hashes(folder)
    own = {name.removeprefix("model/"): each for name, each in manifest["files"].items() if name.startswith("model/")}
    content = {name: each for name, each in own.items() if not name.endswith("lock.json")}
    digest = digest_of({"schema": "gatewise.version/1", "content": manifest["content"], "files": content})
    manifest["digest"] = digest
    (folder / "manifest.json").write_text(json.dumps(manifest))
    folder.rename(registry.object(digest))
    database = sqlite3.connect(registry.path)
    with database:
        database.execute("UPDATE versions SET digest = ?, manifest = ?", (digest, json.dumps(manifest)))
    database.close()


def edit_recipe(folder: Path, old: str, new: str) -> None:
    path = folder / "model" / "recipe.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_registered_model_gives_its_own_outputs(registry: Registry, folder: Path) -> None:
    version = put(registry, folder)
    loaded = load(registry, "encoder", "v1")
    assert (loaded.model, loaded.version, loaded.digest) == ("encoder", "v1", version.digest)
    assert loaded.inputs == (Port(name="input", datatype="FP32", shape=(-1, DIM)),)
    assert loaded.outputs == (Port(name="output", datatype="FP32", shape=(-1, 4)),)
    with torch.inference_mode():
        wanted = block()(torch.from_numpy(ROWS)).numpy()
    np.testing.assert_array_equal(loaded.call({"input": ROWS})["output"], wanted)
    assert [(site["path"], site["identity"], site["fused"]) for site in version.manifest["identity"]] == [
        ("1", "gelu", True),
        ("3", "silu", True),
    ]


def test_the_same_content_has_one_digest_and_one_object(registry: Registry, folder: Path, tmp_path: Path) -> None:
    first = put(registry, folder)
    copied = shutil.copytree(folder, tmp_path / "elsewhere")
    assert put(registry, copied) == first
    assert put(registry, copied, "v2").digest == first.digest
    assert put(registry, folder, "v3", runtime="onnxruntime").digest != first.digest
    assert len([path for path in registry.object("x").parent.iterdir() if path.is_dir()]) == 2
    with pytest.raises(GatewiseError, match="registered with other content"):
        put(registry, folder, runtime="onnxruntime")


def test_a_file_that_changed_is_refused_with_what_it_computes_now(registry: Registry, folder: Path) -> None:
    version = put(registry, folder)
    edit_recipe(registry.object(version.digest), '"none"', '"tanh"')
    with pytest.raises(RefusedError, match=r"model/recipe.json was changed[\s\S]*1: gelu became gelu_tanh"):
        load(registry, "encoder", "v1")


@pytest.mark.parametrize("name", ["model/model.safetensors", "probes.safetensors", "manifest.json", "model/extra.json"])
def test_no_byte_may_change_and_no_file_may_come(registry: Registry, folder: Path, name: str) -> None:
    path = registry.object(put(registry, folder).digest) / name
    data = bytearray(path.read_bytes() if path.exists() else b"{}")
    data[-1] ^= 1
    path.write_bytes(data if name != "manifest.json" else b'{"schema": "gatewise.version/1"}')
    with pytest.raises(RefusedError, match=f"{name} was (changed|added)"):
        load(registry, "encoder", "v1")


def test_gone_files_are_said(registry: Registry, folder: Path) -> None:
    object_of_it = registry.object(put(registry, folder).digest)
    (object_of_it / "model" / "model.safetensors").unlink()
    with pytest.raises(RefusedError, match=r"model\.safetensors is missing"):
        load(registry, "encoder", "v1")
    shutil.rmtree(object_of_it)
    with pytest.raises(GatewiseError, match="the files of encoder v1 are gone"):
        load(registry, "encoder", "v1")
    put(registry, folder)
    assert load(registry, "encoder", "v1").version == "v1"


def test_another_runtime_in_the_record_is_no_registration(registry: Registry, folder: Path) -> None:
    version = put(registry, folder)
    manifest = {**version.manifest, "content": {**version.manifest["content"], "runtime": "openvino"}}
    (registry.object(version.digest) / "manifest.json").write_text(json.dumps(manifest))
    database = sqlite3.connect(registry.path)
    with database:
        database.execute("UPDATE versions SET manifest = ?", (json.dumps(manifest),))
    database.close()
    with pytest.raises(RefusedError, match="the record of its content was changed"):
        load(registry, "encoder", "v1")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"none"', '"tanh"', "1: gelu became gelu_tanh"),
        ('"SiLU"', '"ReLU"', "3: silu became relu"),
        ('"SiLU"', '"Identity"', "3: silu is missing in the second"),
    ],
)
def test_right_hashes_do_not_help_another_function(
    registry: Registry, folder: Path, old: str, new: str, told: str
) -> None:
    forge(registry, put(registry, folder), lambda path: edit_recipe(path, old, new))
    with pytest.raises(RefusedError, match=f"does not compute what was registered\n{told}"):
        load(registry, "encoder", "v1")


def half(dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    return lambda x: functional.gelu(x.to(dtype)).float()


PLANTED = {
    "tanh for erf": (net([gelu, gelu_tanh], [swiglu], [clamped]), "/1/act: gelu became gelu_tanh"),
    "dropped clamp": (
        net([gelu, gelu], [swiglu], [swiglu]),
        r"/3: .*up_low -7.* became swiglu; the limits .* are gone",
    ),
    "lost gate": (net([gelu, gelu], [lost], [clamped]), "/2: the gate is lost: swiglu became silu"),
    "bfloat16": (net([half(torch.bfloat16), gelu], [swiglu], [clamped]), "/0/act.*: gelu is computed in.* bfloat16"),
    "float16": (net([gelu, half(torch.float16)], [swiglu], [clamped]), "/1/act.*: gelu is computed in.* float16"),
    "swapped gate": (net([gelu, gelu], [swapped], [clamped]), "/2: gate and up are swapped"),
    "missing": (net([gelu, nothing], [swiglu], [clamped]), "/1/act.*: gelu is missing"),
}


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exports")
    good = net([gelu, gelu], [swiglu], [clamped])
    made = {name: export(model, folder / f"{name}.onnx", dynamo=False) for name, (model, _) in PLANTED.items()}
    made["good"] = export(good, folder / "good.onnx", dynamo=False)
    with torch.no_grad():
        good[0].up.weight[0] *= 2
    made["weights"] = export(good, folder / "weights.onnx", dynamo=False)
    return made


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_graph_with_right_hashes_is_refused_at_its_site(
    registry: Registry, exports: dict[str, Path], name: str
) -> None:
    version = put(registry, exports["good"])
    forge(registry, version, lambda path: shutil.copy(exports[name], path / "model" / "good.onnx"))
    with pytest.raises(RefusedError, match=PLANTED[name][1]) as caught:
        load(registry, "encoder", "v1")
    assert len(caught.value.reasons) == 1


def test_an_identical_re_export_is_accepted(registry: Registry, tmp_path: Path) -> None:
    files: list[Path] = []
    for opset in (14, 17):
        path = tmp_path / str(opset) / "model.onnx"
        path.parent.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the older exporter says that it is old
            torch.onnx.export(
                net([gelu, gelu], [swiglu], [clamped]),
                (torch.zeros(4, DIM),),
                path,
                dynamo=False,
                opset_version=opset,
                input_names=["x"],
                output_names=["y"],
            )
        files.append(path)
    first, again = files
    assert first.read_bytes() != again.read_bytes()
    forge(registry, put(registry, first), lambda path: shutil.copy(again, path / "model" / "model.onnx"))
    assert load(registry, "encoder", "v1").call({"x": ROWS[:4]})["y"].shape == (4, DIM)


def test_other_weights_with_right_hashes_and_the_same_functions_fail_on_the_probes(
    registry: Registry, exports: dict[str, Path]
) -> None:
    version = put(registry, exports["good"])
    forge(registry, version, lambda path: shutil.copy(exports["weights"], path / "model" / "good.onnx"))
    with pytest.raises(
        RefusedError, match=r"activations are as registered, its outputs on onnxruntime are not\n.*differs"
    ):
        load(registry, "encoder", "v1")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_an_onnx_file_serves_on_both_engines(registry: Registry, tmp_path: Path, runtime: str) -> None:
    put(registry, export(net([gelu, gelu]), tmp_path / "good.onnx", any_items=True), runtime=runtime)
    loaded = load(registry, "encoder", "v1")
    (port,), (output,) = loaded.inputs, loaded.outputs
    assert (port.name, port.datatype, port.shape) == ("x", "FP32", (-1, DIM))
    with torch.inference_mode():
        wanted = net([gelu, gelu])(torch.from_numpy(ROWS[:4])).numpy()
    np.testing.assert_allclose(loaded.call({"x": ROWS[:4]})[output.name], wanted, atol=1e-5)


def test_the_graph_of_a_runtime_is_made_anew_by_another_torch_and_accepted(
    registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = put(registry, folder, runtime="onnxruntime")
    assert any(name.startswith("graph/onnx/") for name in version.manifest["files"])
    assert [site["identity"] for site in version.manifest["graphs"]["onnx"]] == ["gelu", "silu"]
    exported: list[Task] = []
    real = gatewise.runtimes._export.exported

    def counted(task: Task, most: Any) -> Any:
        exported.append(task)
        return real(task, most)

    monkeypatch.setattr("gatewise.runtimes._export.exported", counted)
    before = load(registry, "encoder", "v1").call({"input": ROWS})["output"]
    assert not exported
    monkeypatch.setattr(torch, "__version__", "99.0.0")
    after = load(registry, "encoder", "v1").call({"input": ROWS})["output"]
    assert len(exported) == 1
    np.testing.assert_allclose(before, after, atol=1e-6)


def test_a_runtime_that_executes_the_tanh_form_is_refused_at_the_site(
    registry: Registry, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(registry, folder, runtime="onnxruntime")
    real = gatewise.runtimes._export.exported

    def other(task: Task, most: Any) -> Any:
        for module in task.model.modules():
            if isinstance(module, nn.GELU):
                module.approximate = "tanh"
        return real(task, most)

    monkeypatch.setattr("gatewise.runtimes._export.exported", other)
    monkeypatch.setattr(torch, "__version__", "99.0.0")
    told = r"what onnxruntime executes is not what was registered\n.*gelu became gelu_tanh.*in the graph for onnx"
    with pytest.raises(RefusedError, match=told):
        load(registry, "encoder", "v1")
    torch.manual_seed(1)
    another = nn.Sequential(nn.Linear(DIM, 8), nn.GELU(), nn.Linear(8, DIM)).eval()
    with pytest.raises(RefusedError, match=r"nothing was registered\n1: gelu became gelu_tanh"):
        put(registry, surgery.save(another, tmp_path / "another"), "v2", runtime="onnxruntime")


def test_an_engine_that_rounds_to_bfloat16_inside_fails_on_the_probes(
    registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(registry, folder)
    real = gatewise.runtimes.prepare

    def rounding(name: str, task: Task) -> Prepared:
        made = real(name, replace(task, model=task.model.to(torch.bfloat16)))
        return replace(made, call=lambda inputs: made.call(inputs.to(torch.bfloat16)).float())

    monkeypatch.setattr(gatewise.runtimes, "prepare", rounding)
    with pytest.raises(RefusedError, match="its outputs on eager are not"):
        load(registry, "encoder", "v1")


def test_another_thread_count_is_accepted_and_holds_in_every_thread(registry: Registry, folder: Path) -> None:
    put(registry, folder)
    loaded = load(registry, "encoder", "v1", threads=2)
    seen: list[int] = []

    def serve() -> None:
        loaded.call({"input": ROWS})
        seen.append(torch.get_num_threads())

    before = torch.get_num_threads()
    for other in (1, 3):
        torch.set_num_threads(other)
        thread = threading.Thread(target=serve)
        thread.start()
        thread.join()
    torch.set_num_threads(before)
    assert seen == [2, 2]


def test_a_bfloat16_version_is_one_of_its_own(registry: Registry, folder: Path) -> None:
    version = put(registry, folder, precision="bfloat16")
    assert {site["dtype"] for site in version.manifest["identity"]} == {"bfloat16"}
    loaded = load(registry, "encoder", "v1")
    assert loaded.outputs[0].datatype == "FP32"
    assert loaded.call({"input": ROWS})["output"].dtype == np.float32
    with pytest.raises(GatewiseError, match="takes float32 models, not bfloat16"):
        put(registry, folder, "v2", precision="bfloat16", runtime="onnxruntime")


def test_a_workload_has_free_sizes_and_keeps_its_options(registry: Registry) -> None:
    put(registry, "ffn", options={"dim": 8})
    loaded = load(registry, "encoder", "v1")
    assert loaded.inputs[0].shape == (-1, -1, 8)
    assert loaded.call({"input": np.zeros((2, 3, 8), np.float32)})["output"].shape == (2, 24)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({}, "the input 'input' is missing"),
        ({"input": ROWS.astype(np.float64)}, "has the type float64, not float32"),
        ({"input": ROWS[:, :3]}, r"has the shape \[5, 3\], not \[-1, 16\]"),
        ({"input": ROWS[0]}, r"has the shape \[16\]"),
        ({"input": ROWS[:0]}, r"has the shape \[0, 16\]"),
        ({"input": ROWS, "other": ROWS}, "there is no input 'other'"),
    ],
)
def test_inputs_that_do_not_fit_are_said(
    registry: Registry, folder: Path, inputs: dict[str, np.ndarray], told: str
) -> None:
    put(registry, folder)
    with pytest.raises(GatewiseError, match=told):
        load(registry, "encoder", "v1").call(inputs)


def test_arrays_are_read_where_they_lie() -> None:
    own = np.arange(6, dtype=np.float32).reshape(2, 3)
    received = np.frombuffer(own.tobytes(), dtype=np.float32).reshape(2, 3)
    for array in (own, received):
        assert as_tensor(array).data_ptr() == array.__array_interface__["data"][0]
    np.testing.assert_array_equal(as_tensor(own[::-1]).numpy(), own[::-1])


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"target": "no-such"}, "unknown model 'no-such'"),
        ({"target": "./nowhere"}, "there is no folder or file"),
        ({"target": "model.onnx"}, "there is no file"),
        ({"target": "model.pt"}, "is a pickle"),
        ({"target": ""}, "empty"),
        ({"runtime": "onnxruntim"}, "did you mean 'onnxruntime'"),
        ({"precision": "float31"}, "unknown precision"),
        ({"threads": 0}, "threads must be a whole number of 1 or more"),
        ({"threads": 4096}, "threads on"),
        ({"study": "nowhere"}, "there is no nowhere"),
        ({"options": {"dim": 3}}, "unknown setting 'dim'"),
        ({"calibration": "x.npz"}, "calibration is for runtimes that calibrate"),
        ({"version": "live"}, "that is the name of something else"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    registry: Registry, folder: Path, more: dict[str, Any], told: str
) -> None:
    with pytest.raises(GatewiseError, match=told):
        register(registry, Registration(**{"target": str(folder), "model": "encoder", "version": "v1", **more}))
    assert registry.models() == []
    assert list(registry.object("x").parent.iterdir()) == []


def test_a_study_is_named_by_its_hash_and_its_words(registry: Registry, folder: Path) -> None:
    result = Path(__file__).parents[1] / "data" / "result-example.json"
    version = put(registry, folder, study=str(result))
    verdict = json.loads(result.read_text())["verdict"]
    assert version.study is not None
    assert version.study["headline"] == verdict["headline"]
    assert len(version.study["sha256"]) == 64
    assert registry.version("encoder", "v1").study == version.study


_KILLED = """
import os, signal, sys
from gatewise.versions import Registration, Registry, register
from gatewise.versions import _register

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

_register.write_arrays = die
register(Registry(sys.argv[1], create=True), Registration(target=sys.argv[2], model="encoder", version="v1"))
"""


def test_kill_9_in_the_middle_of_a_registration(tmp_path: Path, folder: Path) -> None:
    died = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tmp_path), str(folder)], capture_output=True, timeout=120, check=False
    )
    assert died.returncode == -9, died.stderr.decode()
    registry = Registry(tmp_path)
    assert registry.models() == []
    put(registry, folder)
    assert load(registry, "encoder", "v1").version == "v1"
