"""A lock holds what was accepted: what nobody explained fails the check, what means the same passes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from planted_models import clamped, export, gelu, gelu_tanh, net, reference, swapped, swiglu

from gatewise import surgery
from gatewise.core import GatewiseError
from gatewise.inspection import check, lock, lock_path, read_lock
from gatewise.workloads import workload

RESULT = Path(__file__).parents[1] / "data" / "result-example.json"


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exports")
    models = {
        "reference": reference(),
        "tanh": net([gelu, gelu_tanh, gelu], [swiglu] * 2, [swiglu, clamped]),
        "swapped": net([gelu] * 3, [swapped, swiglu], [swiglu, clamped]),
        "seed": net([gelu] * 3, [swiglu] * 2, [swiglu, clamped], seed=1),
    }
    found = {name: export(model, folder / f"{name}.onnx", dynamo=False) for name, model in models.items()}
    with torch.no_grad():
        changed = reference()
        changed[4].up_proj.weight[0, 0] += 1e-3
    found["one weight"] = export(changed, folder / "one.onnx", dynamo=False)
    found["again"] = export(reference(), folder / "again.onnx", items=1)
    return found


@pytest.fixture
def locked(exports: dict[str, Path], tmp_path: Path) -> Path:
    model = tmp_path / "model.onnx"
    shutil.copy(exports["reference"], model)
    path, changes = lock(model)
    assert (path, changes) == (tmp_path / "model.onnx.lock.json", [])
    return model


def test_unchanged_passes(locked: Path) -> None:
    found = check(locked)
    assert (found.changes, found.notes) == ([], ())


def test_another_export_of_the_same_passes(locked: Path, exports: dict[str, Path]) -> None:
    # By another exporter: other names, fused operations, another batch size.
    shutil.copy(exports["again"], locked)
    found = check(locked)
    assert found.changes == []
    assert found.notes == ("other bytes, the same content: model.onnx",)


@pytest.mark.parametrize(("name", "kind", "path"), [("tanh", "function", "/1/act"), ("swapped", "swapped", "/3")])
def test_another_function_fails_with_its_site(
    locked: Path, exports: dict[str, Path], name: str, kind: str, path: str
) -> None:
    shutil.copy(exports[name], locked)
    found = check(locked)
    assert [(mismatch.kind, mismatch.path_b) for mismatch in found.mismatches] == [(kind, path)]
    assert found.weights == ()


def test_one_changed_number_fails_with_its_layer(locked: Path, exports: dict[str, Path]) -> None:
    shutil.copy(exports["one weight"], locked)
    found = check(locked)
    assert found.mismatches == ()
    (line,) = found.weights
    assert "/4/up_proj" in line
    assert "other values" in line


def test_a_change_must_be_explained_and_the_reasons_are_kept(locked: Path, exports: dict[str, Path]) -> None:
    shutil.copy(exports["seed"], locked)
    with pytest.raises(GatewiseError, match="say why with --because"):
        lock(locked)
    with pytest.raises(GatewiseError, match="--because needs a reason"):
        lock(locked, because="  ")
    _, changes = lock(locked, because="trained again")
    assert len(changes) > 10
    assert check(locked).changes == []
    history = read_lock(lock_path(locked))["history"]
    assert [entry["because"] for entry in history] == [None, "trained again"]
    assert history[1]["changes"] == changes


def test_lock_without_change_needs_no_reason(locked: Path) -> None:
    assert lock(locked)[1] == []
    assert len(read_lock(lock_path(locked))["history"]) == 2


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"schema": "gatewise.lock/9"}', '{"schema": "gatewise.lock/1"}', "\x00", '{"schema": null}'],
)
def test_damaged_lock(locked: Path, text: str) -> None:
    lock_path(locked).write_text(text, encoding="utf-8")
    with pytest.raises(GatewiseError):
        check(locked)


@pytest.mark.parametrize("part", ["sites", "weights"])
def test_lock_with_a_damaged_entry(locked: Path, part: str) -> None:
    path = lock_path(locked)
    document = json.loads(path.read_text(encoding="utf-8"))
    document[part][0] = {"path": "x"}
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(GatewiseError, match=f"an entry of '{part}' is not whole"):
        check(locked)


def test_no_lock(exports: dict[str, Path]) -> None:
    with pytest.raises(GatewiseError, match="there is no lock"):
        check(exports["tanh"])


def test_folder(tmp_path: Path) -> None:
    model, _ = surgery.swap(workload(name="byte-lm").original(), "swiglu")
    folder = surgery.save(model, tmp_path / "model")
    path, _ = lock(folder)
    assert path == folder / "gatewise.lock.json"
    assert check(folder).changes == []
    again, _ = surgery.swap(workload(name="byte-lm").original(), "geglu")
    surgery.save(again, folder)
    assert {mismatch.kind for mismatch in check(folder).mismatches} == {"function"}


def study(folder: Path, **changes: Any) -> Path:
    """The example result, with its first comparison that is no twin changed."""
    document = json.loads(RESULT.read_text(encoding="utf-8"))
    row = next(row for row in document["comparisons"] if row["metric"] == "latency" and not row["twin"])
    document["environment"] |= changes.pop("environment", {})
    row |= changes
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def test_study_that_says_the_same_passes(locked: Path, tmp_path: Path) -> None:
    lock(locked, study=study(tmp_path / "old"))
    assert read_lock(lock_path(locked))["study"]["comparisons"]
    assert check(locked, study=study(tmp_path / "new")).changes == []


@pytest.mark.parametrize(
    ("changes", "fails"),
    [
        ({"estimate": 1.2, "interval": [1.1, 1.3], "verdict": "worse"}, True),
        ({"estimate": 1.09, "interval": [1.05, 1.12], "verdict": "inconclusive"}, True),
        ({"estimate": 0.5, "interval": [0.45, 0.55], "verdict": "better"}, False),
        ({"estimate": None, "interval": None, "verdict": "inconclusive"}, True),
        (
            {"estimate": 1.09, "interval": [1.05, 1.12], "verdict": "inconclusive", "environment": {"cpu": "another"}},
            False,
        ),
    ],
)
def test_study_that_is_worse_fails(locked: Path, tmp_path: Path, changes: dict[str, Any], *, fails: bool) -> None:
    lock(locked, study=study(tmp_path / "old"))
    found = check(locked, study=study(tmp_path / "new", **changes))
    assert bool(found.metrics) is fails
    assert all("latency of gelu_tanh against gelu" in line for line in found.metrics)
    if "environment" in changes:
        assert any("the machines differ in cpu" in note for note in found.notes)


def test_study_that_is_none(locked: Path, tmp_path: Path) -> None:
    with pytest.raises(GatewiseError, match="there is no"):
        check(locked, study=tmp_path)
    (tmp_path / "result.json").write_text("[]", encoding="utf-8")
    with pytest.raises(GatewiseError, match="no result of gatewise evaluate"):
        check(locked, study=tmp_path)
