"""A user's own calibration inputs: read, checked against the model's inputs, kept out of what is judged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewise.core import GatewiseError
from gatewise.runtimes import read_calibration
from gatewise.study import to_plan
from gatewise.study._calibration import item_hashes, own_calibration, split
from gatewise.study._prepare import subject_workload

LIKE = {"input_ids": torch.zeros((2, 16), dtype=torch.long), "x": torch.zeros((2, 5, 3))}


def saved(tmp_path: Path, **arrays: Any) -> Path:
    path = tmp_path / "inputs.npz"
    np.savez(path, **arrays)
    return path


def good(items: int = 70) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "input_ids": rng.integers(0, 9, (items, 7)),
        "x": rng.standard_normal((items, 5, 3)).astype(np.float32),
    }


def test_items_come_back_in_calls_of_32(tmp_path: Path) -> None:
    arrays = good()
    calls = read_calibration(saved(tmp_path, **arrays), LIKE)
    assert [len(call["x"]) for call in calls] == [32, 32, 6]
    assert list(calls[0]) == list(LIKE)
    for name, array in arrays.items():
        assert np.array_equal(np.concatenate([call[name].numpy() for call in calls]), array)


def test_a_single_tensor_is_called_input_0(tmp_path: Path) -> None:
    calls = read_calibration(saved(tmp_path, input_0=np.ones((3, 4), np.float32)), torch.zeros((1, 4)))
    assert torch.equal(calls[0], torch.ones((3, 4)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": np.full((70, 5, 3), np.nan, np.float32)}, "'x' holds NaN"),
        ({"ids": np.zeros((70, 7), np.int64)}, "unknown input in inputs.npz 'ids'; did you mean 'input_ids'"),
        ({"input_ids": None}, "no array for the model's input input_ids"),
        ({"input_ids": np.zeros((70, 7), np.int32)}, "is int64, the calibration data has int32"),
        ({"input_ids": np.zeros((70,), np.int64)}, "has shape items x any, the calibration data has 70"),
        ({"x": np.zeros((70, 5, 4), np.float32)}, "has shape items x 5 x 3, the calibration data has 70 x 5 x 4"),
        ({"x": np.zeros((69, 5, 3), np.float32)}, r"the same number of items, above 0, not \[69, 70\]"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    arrays = {name: array for name, array in (good() | change).items() if array is not None}
    with pytest.raises(GatewiseError, match=words) as caught:
        read_calibration(saved(tmp_path, **arrays), LIKE)
    assert len(str(caught.value).splitlines()) <= 2


def test_no_items_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(GatewiseError, match="above 0"):
        read_calibration(saved(tmp_path, **good(0)), LIKE)
    with pytest.raises(GatewiseError, match=r"must be an \.npz file"):
        read_calibration(tmp_path / "missing.npz", LIKE)
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(GatewiseError, match=r"must be an \.npz file"):
        read_calibration(tmp_path / "text.npz", LIKE)


def plan(calibration: str, runtime: str = "onnxruntime-int8-static", tokens: int = 3) -> Any:
    return to_plan(
        {
            "study": {"arms": ["gelu", {"name": "gelu", "label": "quantised", "runtime": runtime}]},
            "subject": {"workload": "ffn", "options": {"dim": 8}},
            "measure": {"metrics": ["output_difference"], "calibration": calibration, "batch": [2], "tokens": [tokens]},
        }
    ).parts[0]


def test_items_calibrated_on_are_not_judged(tmp_path: Path) -> None:
    made = subject_workload(plan(""))
    probes = made.probe()
    part = plan(str(saved(tmp_path, input_0=probes[0][:5].numpy())), tokens=probes[0].shape[1])
    held = split(part, made)
    assert [len(call) for call in held.probes] == [len(probes[0]) - 5, *(len(call) for call in probes[1:])]
    assert not {item for call in held.probes for item in item_hashes(call)} & held.items


def test_all_items_leave_none_to_judge_on(tmp_path: Path) -> None:
    made = subject_workload(plan(""))
    rows = np.concatenate([call.numpy() for call in made.probe()])
    with pytest.raises(GatewiseError, match="none is left to judge on"):
        split(plan(str(saved(tmp_path, input_0=rows)), tokens=rows.shape[1]), made)


def test_another_length_is_refused(tmp_path: Path) -> None:
    part = plan(str(saved(tmp_path, input_0=np.zeros((2, 4, 8), np.float32))))
    with pytest.raises(GatewiseError, match="has shape items x 3 x 8"):
        own_calibration(part, subject_workload(part))


def test_own_items_replace_the_share_of_the_probes(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((4, 3, 8)).astype(np.float32)
    part = plan(str(saved(tmp_path, input_0=rows)))
    made = subject_workload(part)
    held = split(part, made)
    assert sum(len(call) for call in held.calibration) == 4
    assert len(held.probes) == len(made.probe())
    assert held.items == frozenset(item_hashes(torch.from_numpy(rows)))


def test_a_plan_without_such_a_runtime_takes_no_calibration(tmp_path: Path) -> None:
    part = plan(str(saved(tmp_path, input_0=np.zeros((1, 3, 8), np.float32))), runtime="onnxruntime-int8")
    with pytest.raises(GatewiseError, match="the plan has none"):
        own_calibration(part, subject_workload(part))
