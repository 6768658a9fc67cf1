"""Every runtime that this machine has keeps the promises of the table, on three small architectures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gatewise.core import GatewiseError
from gatewise.runtimes import RUNTIMES, Inputs, Task, agreement, availability, prepare, variations

# Compilers import old parts of torch that warn of themselves; whether our own code warns is not asked here.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]

MISSING = availability()
HERE = [name for name in RUNTIMES if MISSING[name] is None]
GENERATOR = torch.Generator().manual_seed(7)


class Encoder(nn.Module):
    """Token ids and a mask in, one vector per item out, as text models do it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        self.attention = nn.Linear(32, 96)
        self.up, self.down, self.act = nn.Linear(32, 64), nn.Linear(64, 32), nn.GELU()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        x = self.embedding(input_ids)
        q, k, v = self.attention(x).chunk(3, dim=-1)
        scores = (q @ k.transpose(1, 2)) / 32**0.5
        scores = scores.masked_fill(attention_mask[:, None, :] == 0, -1e4)
        x = x + scores.softmax(-1) @ v
        return x + self.down(self.act(self.up(x)))


def pooled(model: nn.Module, inputs: Inputs) -> Tensor:
    hidden = model(**inputs)
    mask = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
    return (hidden * mask).sum(1) / mask.sum(1)


def plain(model: nn.Module, inputs: Inputs) -> Tensor:
    return model(inputs).flatten(1)


def ids(batch: int, tokens: int) -> dict[str, Tensor]:
    mask = torch.ones(batch, tokens, dtype=torch.int64)
    mask[0, tokens // 2 :] = 0
    return {"input_ids": torch.randint(50, (batch, tokens), generator=GENERATOR), "attention_mask": mask}


def task(kind: str, folder: Path | None = None, batch: int = 4) -> Task:
    torch.manual_seed(3)
    if kind == "encoder":
        model, run, example = Encoder(), pooled, ids(batch, 6)
        calibration = [ids(4, 6) for _ in range(4)]
    elif kind == "convnet":
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.SiLU(), nn.Conv2d(8, 8, 3, stride=2), nn.Flatten(), nn.Linear(72, 5)
        )
        run, example = plain, torch.randn(batch, 3, 9, 9, generator=GENERATOR)
        calibration = [torch.randn(4, 3, 9, 9, generator=GENERATOR) for _ in range(4)]
    else:
        model = nn.Sequential(nn.Linear(16, 48), nn.GELU(), nn.Linear(48, 8))
        run, example = plain, torch.randn(batch, 16, generator=GENERATOR)
        calibration = [torch.randn(4, 16, generator=GENERATOR) for _ in range(4)]
    return Task(model=model.eval(), run=run, example=example, folder=folder, calibration=calibration)


def test_the_table_is_not_empty_and_every_file_of_a_runtime_stands_in_it() -> None:
    assert {"eager", "compile", "onnxruntime", "openvino"} <= set(RUNTIMES)
    folder = Path(__file__).parents[2] / "src" / "gatewise" / "runtimes"
    files = {path.stem for path in folder.glob("_*.py") if "\nRUNTIME = " in path.read_text(encoding="utf-8")}
    assert files == {entry.partition(":")[0].removeprefix(".") for entry in RUNTIMES.table.values()}


def test_looking_what_is_there_imports_no_engine() -> None:
    code = (
        "import sys; from gatewise.runtimes import availability; found = availability();"
        "assert 'eager' in found and found['eager'] is None;"
        "print([name for name in ('onnx', 'onnxruntime', 'openvino', 'zentorch', 'nncf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("kind", ["mlp", "convnet", "encoder"])
@pytest.mark.parametrize("name", HERE)
def test_it_gives_eagers_outputs_at_every_size_and_leaves_the_model_alone(name: str, kind: str) -> None:
    asked = task(kind)
    before = {key: tensor.clone() for key, tensor in asked.model.state_dict().items()}
    ready = prepare(name, asked)
    inputs = [*variations(asked.example), *([ids(3, 9), ids(2, 6)] if kind == "encoder" else [])]
    found = agreement(name, asked, ready, inputs)  # raises where a tolerance is passed
    assert found.calls == len(inputs)
    assert found.cosine > 0.9
    if RUNTIMES[name].tolerance is not None:
        assert found.relative <= RUNTIMES[name].tolerance
    assert all(torch.equal(before[key], tensor) for key, tensor in asked.model.state_dict().items())
    assert name.partition("-")[0] in ready.implementation or "inductor" in ready.implementation
    assert ready.size_bytes is None or ready.size_bytes > 500
    assert ready.differentiable == RUNTIMES[name].differentiable


@pytest.mark.parametrize("name", HERE)
def test_the_same_input_gives_the_same_bits_and_results_are_the_callers_to_keep(name: str) -> None:
    asked = task("mlp")
    ready = prepare(name, asked)
    with torch.inference_mode():
        first = ready.call(asked.example)
        kept = first.clone()
        other = ready.call(asked.example + 1.0)
        again = ready.call(asked.example)
    assert torch.equal(first, kept)
    assert torch.equal(again, kept)
    assert not torch.equal(other, kept)


@pytest.mark.parametrize("name", [name for name in HERE if not RUNTIMES[name].keeps_model])
def test_a_fresh_process_finds_the_file_and_only_loads_it(name: str, tmp_path: Path) -> None:
    asked = task("mlp", tmp_path)
    with torch.inference_mode():
        wanted = prepare(name, asked).call(asked.example)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.suffix in (".onnx", ".xml", ".pt2")}
    assert files
    torch.save({"x": asked.example, "calibration": list(asked.calibration)}, tmp_path / "example.pt")
    code = f"""
import json, sys, torch
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_runtimes as t
from dataclasses import replace
from pathlib import Path
from gatewise.runtimes import prepare
held = torch.load({str(tmp_path / "example.pt")!r})
asked = replace(t.task("mlp", Path({str(tmp_path)!r})), example=held["x"], calibration=held["calibration"])
import torch.export
def never(*a, **k): raise AssertionError("it was exported again")
torch.export.export = never
with torch.inference_mode():
    print(json.dumps(prepare({name!r}, asked).call(asked.example).tolist()))
"""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert torch.equal(torch.tensor(json.loads(done.stdout.splitlines()[-1])), wanted)
    assert files == {path: path.stat().st_mtime_ns for path in files}


@pytest.mark.skipif("zentorch" not in HERE, reason="no zentorch here")
def test_zentorch_leaves_nothing_behind_for_the_compiled_arms_beside_it() -> None:
    from torch._inductor import config
    from torch.profiler import profile

    asked = task("mlp", batch=3)
    with torch.inference_mode():
        prepare("zentorch", asked).call(asked.example)
    prepare("zentorch", asked).call(asked.example)  # where gradients are on it must not pack in place either
    assert config.joint_custom_post_pass is None
    assert config.freezing is False
    other = task("mlp", batch=7)
    ready = prepare("compile", other)
    with torch.inference_mode():
        ready.call(other.example)
        with profile() as seen:
            ready.call(other.example)
    operations = [event.key for event in seen.key_averages()]
    assert not [name for name in operations if "zentorch" in name]
    assert operations


class Branch(nn.Module):
    """Its way depends on its data: no graph holds both."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return y * 2 if y.sum() > 0 else y


@pytest.mark.parametrize("name", [name for name in HERE if not RUNTIMES[name].keeps_model])
def test_a_model_that_cannot_be_exported_ends_in_one_clear_error(name: str) -> None:
    x = torch.randn(4, 16, generator=GENERATOR)
    with pytest.raises(GatewiseError, match=r"cannot be exported: a branch or a size depends on the data") as told:
        prepare(name, Task(model=Branch().eval(), run=plain, example=x, calibration=[x]))
    assert "in forward" in str(told.value)
    assert len(str(told.value).splitlines()) <= 2


@pytest.mark.parametrize("name", [name for name in HERE if RUNTIMES[name].calibrates])
def test_calibration_inputs_are_needed_and_must_fit(name: str) -> None:
    asked = task("mlp")
    with pytest.raises(GatewiseError, match="needs calibration inputs"):
        prepare(name, Task(model=asked.model, run=plain, example=asked.example))
    wrong = [torch.ones(4, 3, dtype=torch.int64)]
    with pytest.raises(GatewiseError, match="int64 with 2 dimensions instead of float32 with 2"):
        prepare(name, Task(model=asked.model, run=plain, example=asked.example, calibration=wrong))
    narrow = [torch.randn(4, 3, generator=GENERATOR)]
    with pytest.raises(GatewiseError, match="3 instead of 16"):
        prepare(name, Task(model=asked.model, run=plain, example=asked.example, calibration=narrow))
