"""A subject on an engine: exported, called with every batch size, and described."""

import sys
from pathlib import Path

import pytest

from gatewise.core import GatewiseError
from gatewise.runtimes import availability
from gatewise.scenarios import SubjectPlan, load_subject

CODE = """
import torch
from torch import nn


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 3)), torch.randn(40, 6)
"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "subject_model.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("subject_model", None)
    return "subject_model:make"


ENGINES = [name for name in ("eager", "onnxruntime", "openvino", "onnxruntime-int8-static") if not availability()[name]]


@pytest.mark.parametrize("runtime", ENGINES)
def test_every_batch_size_is_served(model: str, runtime: str) -> None:
    subject = load_subject(SubjectPlan(model=model, runtime=runtime, max_batch=3))
    for batch in (1, 2, 3):
        assert len(subject.call(list(range(batch)))) == batch  # pyright: ignore[reportArgumentType]
    assert subject.implementation
    assert subject.load_s > 0
    assert subject.first_s > 0


def test_calibration_is_for_runtimes_that_calibrate(model: str) -> None:
    with pytest.raises(GatewiseError, match="'eager' does not"):
        load_subject(SubjectPlan(model=model, calibration="inputs.npz"))


def test_full_batches_alone_are_called_where_no_others_come(model: str) -> None:
    subject = load_subject(SubjectPlan(model=model, max_batch=5, only_full=True))
    assert len(subject.call(list(range(5)))) == 5  # pyright: ignore[reportArgumentType]
    assert len(subject.call([0])) == 1  # pyright: ignore[reportArgumentType]
    with pytest.raises(KeyError):
        subject.call([0, 1, 2])
