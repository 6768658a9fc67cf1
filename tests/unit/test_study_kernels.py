"""`kernel = "gatewise"` as an arm's property: what is asked, refused, run and recorded."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gatewise import kernels
from gatewise.core import GatewiseError, Store
from gatewise.kernels._choice import forced, forget
from gatewise.kernels._library import Status
from gatewise.report._facts import environment_line
from gatewise.runtimes import availability
from gatewise.study import Part, check_part, to_plan
from gatewise.study._cells import groups, run_arms
from gatewise.study._errors import OtherStudyError
from gatewise.study._evaluate import _open as opened  # pyright: ignore[reportPrivateUsage]
from gatewise.study._evaluate import machine
from gatewise.study._jobs import prepare
from gatewise.study._plan import from_json
from gatewise.study._record import read_record
from gatewise.study._result import document
from gatewise.study._timing import latency, memory
from gatewise.study._training import run_training, step_time

NATIVE = pytest.mark.skipif(kernels.status().path is None, reason="the native kernels are absent")
SUBJECT: dict[str, Any] = {"workload": "ffn", "options": {"dim": 32}}
TINY: dict[str, Any] = {"dim": 16, "layers": 1, "heads": 2, "context": 32, "data": "synthetic", "heldout_windows": 8}
BYTES: dict[str, Any] = {"workload": "byte-lm", "options": TINY}


@pytest.fixture(autouse=True)
def unmeasured() -> Iterator[None]:
    """Ways that need no measuring, so that nothing hangs on how busy the machine is."""
    forget()
    with forced(linear="onednn", ffn="native"):
        yield


def plan(arms: list[Any], subject: dict[str, Any] = SUBJECT, **tables: Any) -> Any:
    return to_plan({"study": {"arms": arms, "budget": "1h"}, "subject": subject} | tables)


def one(arms: list[Any], **tables: Any) -> Part:
    return plan(arms, **tables).parts[0]


def test_kernels_multiply_the_arms_and_an_arm_with_its_own_stays_one() -> None:
    arms = ["swiglu", {"name": "gelu", "kernel": "gatewise"}, {"name": "relu", "kernel": "stock", "label": "plain"}]
    part = one(arms, measure={"kernels": ["stock", "gatewise"], "runtimes": ["eager", "compile"], "batch": [1]})
    found = [(arm.label, arm.name, arm.kernel) for arm in part.arms]
    assert found == [
        ("swiglu", "swiglu", "stock"),
        ("swiglu+gatewise", "swiglu", "gatewise"),
        ("gelu+gatewise", "gelu", "gatewise"),
        ("plain", "relu", "stock"),
    ]
    assert part.baseline == "swiglu"
    runs = run_arms(part, {})
    assert [run.label for run in runs[:4]] == [
        "swiglu/eager",
        "swiglu/compile",
        "swiglu+gatewise/eager",
        "swiglu+gatewise/compile",
    ]
    assert groups(runs, together=True)[0][1].kernel == "stock"  # the twin is the baseline's copy


def test_a_plan_comes_back_from_its_record_and_an_old_one_still_means_what_it_meant() -> None:
    asked = plan(["gelu", "relu"], measure={"kernels": ["stock", "gatewise"]})
    again = from_json(json.loads(json.dumps(asked.to_json())))
    assert again == asked
    stock = plan(["gelu", "relu"], measure={})
    old = json.loads(json.dumps(stock.to_json()))
    for part in old["parts"]:
        del part["measure"]["kernels"]
        for arm in part["arms"]:
            del arm["kernel"]
    assert from_json(old) == stock
    assert from_json(old).fingerprint == stock.fingerprint != asked.fingerprint


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"measure": {"kernels": ["fast"]}}, "measure.kernels is a list of stock and gatewise"),
        ({"measure": {"kernels": []}}, "measure.kernels is a list"),
        (
            {"measure": {"kernels": "gatewise"}},
            r'measure\].kernels is a list, such as \["stock", "gatewise"\], not \'gate',
        ),
        ({"train": {"kernels": "stock"}}, r"train\].kernels is a list"),
        ({"train": {"kernels": ["stock", "stock"]}}, "train.kernels is a list"),
        ({"study": {"arms": ["gelu", {"name": "relu", "kernel": "ours"}]}}, "kernel is stock or gatewise, not 'ours'"),
        ({"study": {"arms": ["gelu", {"name": "relu", "kernl": "stock"}]}}, "did you mean 'kernel'"),
        (
            {"study": {"arms": ["gelu", "gelu+gatewise"]}, "measure": {"kernels": ["stock", "gatewise"]}},
            r"label 'gelu\+gatewise'",
        ),
        (
            {"measure": {"kernels": ["gatewise"]}, "train": {"kernels": ["stock", "gatewise"]}},
            "give one of them",
        ),
    ],
)
def test_wrong_kernels_are_refused_where_the_plan_is_read(tables: dict[str, Any], words: str) -> None:
    with pytest.raises(GatewiseError, match=words):
        to_plan({"study": {"arms": ["gelu", "relu"]}, "subject": SUBJECT} | tables)


ENGINES = [name for name in ("onnxruntime", "openvino") if availability()[name] is None]


@NATIVE
@pytest.mark.parametrize(
    ("measured", "words"),
    [
        *(({"runtimes": ["eager", name]}, f"{name}.*cannot have kernel = gatewise") for name in ENGINES),
        ({"dtype": "float16"}, "float32 and bfloat16, not float16"),
        ({"device": "cuda", "metrics": ["latency"]}, "for the CPU, not cuda"),
    ],
)
def test_what_native_kernels_cannot_do_is_refused_when_the_plan_is_checked(
    measured: dict[str, Any], words: str
) -> None:
    with pytest.raises(GatewiseError, match=words) as caught:
        check_part(one(["gelu", {"name": "gelu", "kernel": "gatewise"}], measure=measured))
    assert len(str(caught.value).splitlines()) <= 2


def test_a_machine_without_kernels_refuses_the_plan_and_runs_the_stock_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "status", lambda: Status(reason="nobody built them"))
    check_part(one(["gelu", "relu"]))
    for tables in ({"measure": {"kernels": ["gatewise"]}}, {"train": {"kernels": ["gatewise"]}, "subject": BYTES}):
        with pytest.raises(GatewiseError, match=r"'gelu' asks for kernel = gatewise.*absent: nobody built them"):
            check_part(one(["gelu", "relu"], **tables))
    assert machine()["kernels"] == {"instruction_set": None, "reason": "nobody built them"}


def test_a_study_on_kernels_goes_on_with_its_instruction_set_and_another_does_not_care(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(path: Path | None, found: str | None, reason: str | None = None) -> None:
        monkeypatch.setattr(kernels, "status", lambda: Status(path=path, instruction_set=found, reason=reason))

    ours, stock = plan(["gelu", {"name": "gelu", "kernel": "gatewise"}]), plan(["gelu", "relu"])
    here(tmp_path, "avx512")
    for resume in (False, True):
        for name, asked in (("ours", ours), ("stock", stock)):
            opened(asked, tmp_path / name, resume=resume).close()
    here(tmp_path, "avx2", "GATEWISE_ISA=avx2")
    with pytest.raises(OtherStudyError, match=r"kernels avx512, and here they are avx2 \(GATEWISE_ISA=avx2\)\n"):
        opened(ours, tmp_path / "ours", resume=True)
    here(None, None, "GATEWISE_NATIVE=off")
    with pytest.raises(OtherStudyError, match=r"avx512, and here they are absent \(GATEWISE_NATIVE=off\)"):
        opened(ours, tmp_path / "ours", resume=True)
    opened(stock, tmp_path / "stock", resume=True).close()


def test_the_environment_line_says_whether_native_kernels_are_there() -> None:
    here = {"cpu": "a processor", "kernels": {"instruction_set": "avx2", "reason": None}}
    assert "native kernels avx2" in environment_line({"environment": here})
    there = {"cpu": "a processor", "kernels": {"instruction_set": None, "reason": "no compiler"}}
    assert "no native kernels (no compiler)" in environment_line({"environment": there})
    assert "kernels" not in environment_line({"environment": {"cpu": "a processor"}})  # a record from before


def stored(asked: Any, folder: Path, rows: dict[str, dict[str, Any]], prepared: dict[str, Any]) -> Store:
    store = Store(folder / "study.sqlite")
    store.put("plan", asked.to_json())
    store.put("environment", machine())
    store.put(f"prepared:{asked.parts[0].name}", prepared)
    for cell, row in rows.items():
        store.add(asked.parts[0].name, 0, {cell: row})
    return store


def job(asked: Any, folder: Path, **more: Any) -> dict[str, Any]:
    return {"plan": asked.to_json(), "part": 0, "folder": str(folder), "seed": 0, "own": None} | more


@NATIVE
def test_times_memory_and_outputs_of_both_kernels_stand_in_the_record_with_what_ran(tmp_path: Path) -> None:
    metrics = ["latency", "peak_memory", "output_difference"]
    asked = plan(["swiglu"], measure={"metrics": metrics, "kernels": ["stock", "gatewise"], "batch": [3]})
    part = asked.parts[0]
    prepared = json.loads(json.dumps(prepare(job(asked, tmp_path / "arms"))()))
    stock, ours = (prepared["arms"][label] for label in ("swiglu", "swiglu+gatewise"))
    assert (stock["kernel_facts"], stock["parameters"], stock["flops"]) == (None, ours["parameters"], ours["flops"])
    assert [each["now"] for each in ours["kernel_facts"]["replaced"]] == ["FeedForward"]
    agreed = prepared["runtimes"]["swiglu+gatewise"]["agreement"]
    assert 0 < agreed["relative"] <= agreed["tolerance"]
    outputs = prepared["outputs"]["swiglu+gatewise"]  # comparable though untrained: the weights are the baseline's
    assert max(outputs["values"]) < 1e-9
    assert not outputs["identical"]
    found = read_record(stored(asked, tmp_path, {}, prepared), part)
    arms = [run.to_json() for run in groups(found.arms, together=True)[0]]
    cell = {"id": "batch=3 tokens=16 threads=1 device=cpu", "batch": 3, "tokens": 16, "seconds": 0.01}
    run = latency(
        job(
            asked,
            tmp_path / "arms",
            arms=arms,
            cells=[cell | {"call": "forward"}],
            rounds=1,
            threads=1,
            device="cpu",
            dtype="float32",
        )
    )
    rows = run()
    ours_alone = [arm for arm in arms if arm["kernel"] == "gatewise"]
    weigh = job(asked, tmp_path / "arms", arms=ours_alone, cells=[cell], threads=1, dtype="float32")
    weighed = {f"memory:swiglu+gatewise|{key}": value for key, value in memory(weigh)().items()}
    content = document(asked, stored(asked, tmp_path, rows | weighed, prepared), replay="")
    ran = {(m["metric"], m["arm"]): m["implementation"] for m in content["measurements"]}
    isa = kernels.status().instruction_set
    eager = f"torch {torch.__version__} eager"
    assert ran["latency", "swiglu"] == ran["latency", "swiglu (twin)"] == eager
    assert ran["latency", "swiglu+gatewise"] == f"{eager}, gatewise kernels {isa} (ffn.inference: native)"
    assert f"gatewise kernels {isa}" in ran["peak_memory", "swiglu+gatewise"]
    assert [(arm["label"], arm["kernel"]) for arm in content["arms"]] == [
        ("swiglu", "stock"),
        ("swiglu (twin)", "stock"),
        ("swiglu+gatewise", "gatewise"),
    ]
    assert content["environment"]["kernels"]["instruction_set"] == isa
    ways = content["study"]["parts"][0]["kernel_choices"]
    assert {(each["question"], each["chosen"], *each["processes"]) for each in ways} == {("ffn.inference", "native", 0)}


@NATIVE
def test_arms_without_any_kernel_are_refused_alone_and_warned_of_beside_others(tmp_path: Path) -> None:
    measured = {"metrics": ["latency"], "kernels": ["gatewise"], "batch": [2], "tokens": [4]}
    subject = {"workload": "operator", "options": {"dim": 64}}
    alone = plan(["relu", "mish"], subject, measure=measured)
    with pytest.raises(GatewiseError, match="changes nothing in relu, mish: relu has no kernel"):
        prepare(job(alone, tmp_path / "one"))()
    beside = plan(["gelu", "relu"], subject, measure=measured)
    prepared = prepare(job(beside, tmp_path / "two"))()
    assert [each["function"] for each in prepared["arms"]["gelu"]["kernel_facts"]["replaced"]] == ["gelu"]
    store = stored(beside, tmp_path, {}, prepared)
    warnings = document(beside, store, replay="")["verdict"]["warnings"]
    assert "Nothing in relu has a gatewise kernel: torch's own code ran." in warnings


@NATIVE
def test_an_arm_is_trained_on_its_kernel_from_the_same_weights(tmp_path: Path) -> None:
    trained = {"kernels": ["stock", "gatewise"], "seeds": 2, "steps": 200, "metrics": ["heldout_loss", "step_time"]}
    asked = plan(["swiglu"], BYTES, train=trained)
    prepared = prepare(job(asked, tmp_path / "arms"))()
    ours = prepared["arms"]["swiglu+gatewise"]
    assert {each["now"] for each in ours["kernel_facts"]["replaced"]} == {"FeedForward", "Linear"}
    assert ours["parameters"] == prepared["arms"]["swiglu"]["parameters"]
    settings = prepared["training"]["settings"] | {"steps": 3, "eval_every": 3}
    ends: dict[str, Any] = {}
    for label in ("swiglu", "swiglu+gatewise"):
        ends[label] = run_training(job(asked, tmp_path / "arms", arm=label, run_seed=0, settings=settings))()
    stock, native = ends["swiglu"], ends["swiglu+gatewise"]
    assert stock["data_order_sha256"] == native["data_order_sha256"]
    assert native["final_loss"] == pytest.approx(stock["final_loss"], rel=1e-4)
    isa = kernels.status().instruction_set
    assert native["implementation"].startswith(f"{stock['implementation']}, gatewise kernels {isa} (ffn.")
    arms = [run.to_json() for run in groups(run_arms(asked.parts[0], {}), together=True)[0]]
    row = step_time(job(asked, tmp_path / "arms", arms=arms, seconds=0.01))()
    told = {label: "gatewise kernels" in words for label, words in row["implementations"].items()}
    assert told == {"swiglu": False, "swiglu (twin)": False, "swiglu+gatewise": True}


def test_a_trained_arm_on_another_runtime_is_refused() -> None:
    plan = {
        "study": {"arms": ["gelu", {"name": "gelu", "runtime": "compile", "label": "compiled"}]},
        "subject": {"workload": "byte-lm"},
        "train": {"seeds": 2, "steps": 20, "metrics": ["heldout_loss"]},
    }
    (part,) = to_plan(plan).parts
    with pytest.raises(GatewiseError, match="training runs in eager: a runtime for compiled needs"):
        check_part(part)
