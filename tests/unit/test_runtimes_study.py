"""Runtimes in a study: own outputs and sizes, calibration kept apart, refusals before anything is timed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gatewise.core import GatewiseError
from gatewise.runtimes import RUNTIMES, Prepared, Task, agreement, availability, check_runtime
from gatewise.study import to_plan
from gatewise.study._calibration import Split, calibrates, item_hashes, split
from gatewise.study._prepare import check_names, prepare_arms, subject_workload

MODEL = """
import torch
from torch import nn

class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.act = nn.Linear(16, 8), nn.GELU()

    def forward(self, x):
        y = self.act(self.layer(x))
        return y * 2 if y.sum() > 0 else y

def make():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 4))
    x = torch.randn(200, 16)
    return model, x, model(x).argmax(1).tolist()

def branch():
    return Branch(), torch.randn(64, 16)
"""
NO_ONNX = pytest.mark.skipif(availability()["onnxruntime"] is not None, reason="ONNX Runtime is not installed")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    name = f"runtime_model_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODEL)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / name


def part(here: Path, function: str = "make", **measured: Any) -> Any:
    wanted = {"metrics": ["latency", "output_difference", "quality"], "batch": [2, 5]} | measured
    content = {"arms": ["gelu", "relu"]}
    return to_plan({"study": content, "subject": {"model": f"{here.name}:{function}"}, "measure": wanted}).parts[0]


@NO_ONNX
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_every_run_has_outputs_quality_and_a_size_of_its_own_and_nothing_calibrated_on_is_judged(here: Path) -> None:
    asked = part(here, runtimes=["eager", "onnxruntime", "onnxruntime-int8-static"])
    record = prepare_arms(asked, here.parent / "arms", seed=0)
    runs = [f"{arm}/{runtime}" for arm in ("gelu", "relu") for runtime in asked.measure.runtimes]
    assert list(record["runtimes"]) == runs
    assert set(record["outputs"]) == set(runs[1:])
    assert set(record["quality"]) == set(runs)
    fp32, int8 = record["runtimes"]["gelu/onnxruntime"], record["runtimes"]["gelu/onnxruntime-int8-static"]
    assert fp32["agreement"]["relative"] <= fp32["agreement"]["tolerance"]
    assert int8["agreement"]["tolerance"] is None
    assert int8["agreement"]["relative"] > fp32["agreement"]["relative"]
    assert fp32["size_bytes"] > 32 * 20 * 4
    # 200 items in 7 batches of probes: two of them, 64 items, are set aside; for every arm alike.
    assert {len(entry["values"]) for entry in record["outputs"].values()} == {200 - 64}
    assert {len(entry["values"]) for entry in record["quality"].values() if "values" in entry} == {200 - 64}
    moved = {label: max(entry["values"]) for label, entry in record["outputs"].items()}
    assert moved["gelu/onnxruntime"] < 1e-9 < moved["gelu/onnxruntime-int8-static"] < moved["relu/eager"]


def test_without_static_quantisation_all_probes_are_judged_on(here: Path) -> None:
    asked = part(here)
    assert not calibrates(asked)
    held = split(asked, subject_workload(asked))
    assert not held.calibration
    assert sum(len(each) for each in held.probes) == 200


def test_items_are_known_again_whatever_their_padding() -> None:
    ids, mask = torch.tensor([[5, 6, 0, 0]]), torch.tensor([[1, 1, 0, 0]])
    padded = {"input_ids": ids, "attention_mask": mask}
    short = {"input_ids": ids[:, :2], "attention_mask": mask[:, :2]}
    other = {"input_ids": ids + 1, "attention_mask": mask}
    assert item_hashes(padded) == item_hashes(short)
    assert item_hashes(padded) != item_hashes(other)
    held = Split(calibration=(), probes=(), items=frozenset("b"))
    assert held.kept(["x", "a", "b", "c"], [1.0, 2.0, 3.0]) == [1.0, 3.0]


@NO_ONNX
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_model_that_cannot_be_exported_is_refused_with_the_arm_and_the_place(here: Path) -> None:
    asked = part(here, "branch", runtimes=["eager", "onnxruntime"])
    with pytest.raises(GatewiseError, match=r"gelu/onnxruntime: the model cannot be exported: a branch") as told:
        prepare_arms(asked, here.parent / "arms", seed=0)
    assert len(str(told.value).splitlines()) <= 2
    assert "line 12, in forward" in str(told.value)


def test_runtimes_that_cannot_do_what_is_asked_are_refused_before_anything_is_built(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = subject_workload(part(here))
    with pytest.raises(GatewiseError, match=r"takes float32 models, not bfloat16\nvalid for bfloat16: eager, compile"):
        check_names(part(here, runtimes=["onnxruntime"], dtype="bfloat16"), made)
    with pytest.raises(
        GatewiseError, match=r"no gradients flow through the runtime 'openvino'\nvalid: eager, compile$"
    ):
        check_names(part(here, runtimes=["eager", "openvino"], metrics=["gradient_time"]), made)
    with pytest.raises(GatewiseError, match=r"runs on the processor only.*\nvalid there: eager, compile"):
        check_names(part(here, runtimes=["onnxruntime"], device="cuda"), made)
    with pytest.raises(GatewiseError, match="did you mean 'openvino'"):
        check_runtime("opnvino")
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    monkeypatch.setattr("gatewise.runtimes._machine.find_spec", lambda name: None)
    with pytest.raises(GatewiseError, match=r"'onnxruntime' cannot run here: onnx is not installed.*pip install"):
        check_names(part(here, runtimes=["onnxruntime"]), made)


def doubled(model: nn.Module, inputs: Tensor) -> Tensor:
    return model(inputs)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda y: y * 1.01, "differ by 1.0e-02 of the largest output, and 1e-04 is allowed"),
        (lambda y: y[:, :2], r"gives \(3, 2\), eager gives \(3, 4\)"),
        (lambda y: y.masked_fill(y == y.max(), float("nan")), "1 of 12 outputs that are not finite"),
    ],
)
def test_a_wrong_graph_is_refused_with_numbers(wrong: Any, words: str) -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(5, 4).eval(), torch.randn(3, 5)
    task = Task(model=model, run=doubled, example=x)
    broken = Prepared(call=lambda inputs: wrong(model(inputs)), implementation="broken")
    with pytest.raises(GatewiseError, match=words):
        agreement("compile", task, broken, [x])
    backwards = Prepared(call=lambda inputs: -model(inputs), implementation="broken")
    low = next(name for name in RUNTIMES if RUNTIMES[name].tolerance is None)
    with pytest.raises(GatewiseError, match=r"lowest cosine is -1.000"):
        agreement(low, task, backwards, [x])


def test_quantising_reports_to_nobody() -> None:
    """NNCF sends its use over the network unless it is told not to before it is imported."""
    pytest.importorskip("nncf")
    code = (
        "import os\n"
        "from gatewise.runtimes._openvino_int8 import silent_nncf\n"
        "silent_nncf()\n"
        "from nncf.telemetry import wrapper\n"
        "assert isinstance(wrapper.telemetry, wrapper.NNCFTelemetryStub), type(wrapper.telemetry)\n"
        "assert 'NNCF_CI' not in os.environ\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
