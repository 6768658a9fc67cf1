"""Options of a workload: taken, or refused with the nearest name or the reason."""

from pathlib import Path

import pytest
from torch import nn

import gatewise
from gatewise.core import GatewiseError
from gatewise.workloads import WORKLOADS, workload
from gatewise.workloads._byte_lm import ByteLMWorkload
from gatewise.workloads._ffn import FeedForwardWorkload


def test_options_set_the_fields_of_a_workload() -> None:
    made = workload(name="byte-lm", options={"dim": 96, "layers": 3, "hidden": None})
    assert made == ByteLMWorkload(dim=96, layers=3)
    assert workload(name="ffn", options={"hidden": 7}) == FeedForwardWorkload(hidden=7)


def test_without_options_a_workload_is_as_it_always_was() -> None:
    assert workload(name="byte-lm") == workload(name="byte-lm", options={}) == ByteLMWorkload()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("byte-lm", {"layer": 2}, "did you mean 'layers'"),
        ("byte-lm", {"dim": 96.0}, "byte-lm: dim must be a whole number, got 96.0"),
        ("byte-lm", {"dim": True}, "byte-lm: dim must be a whole number, got True"),
        ("byte-lm", {"dim": None}, "byte-lm: dim must be a whole number, got None"),
        ("byte-lm", {"hidden": "wide"}, "byte-lm: hidden must be a whole number, got 'wide'"),
        ("byte-lm", {"heads": 5}, "multiple of 2 x heads"),
        ("byte-lm", {"batch": 0}, "batch must be a whole number of at least 1"),
        ("byte-lm", {"name": "x"}, "unknown option"),
        ("ffn", {"dim": 0}, "ffn: dim must be a whole number from 1 to"),
        ("ffn", {"dim": 10**12}, "ffn: dim must be a whole number from 1 to"),
        ("ffn", {"hiden": 9}, "did you mean 'hidden'"),
        ("operator", {"dim": -1}, "operator: dim"),
        ("operator", {"hidden": 4}, "unknown option of operator"),
    ],
)
def test_wrong_options_are_refused_in_at_most_two_lines(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(GatewiseError, match=words) as caught:
        workload(name=name, options=options)
    assert len(str(caught.value).splitlines()) <= 2


def test_a_workload_without_fields_takes_none() -> None:
    with pytest.raises(GatewiseError, match="'sentence-encoder' takes no options, got dim"):
        workload(name="sentence-encoder", options={"dim": 3})


def test_options_do_not_go_with_a_model_of_ones_own() -> None:
    with pytest.raises(GatewiseError, match="options go with a workload"):
        workload(model="package.module:function", options={"dim": 3})


def test_every_name_of_the_table_resolves() -> None:
    assert {"sentence-encoder", "byte-lm", "ffn", "operator"} <= set(WORKLOADS)
    assert all(callable(WORKLOADS[name]) for name in WORKLOADS)


def test_a_saved_model_whose_inputs_are_not_known_is_refused(tmp_path: Path) -> None:
    gatewise.save(nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2)), tmp_path / "saved")
    made = workload(model=str(tmp_path / "saved"))
    with pytest.raises(GatewiseError, match=r"a Sequential, which takes no token ids.*\n.*package\.module:function"):
        made.run(made.original(), made.inputs(2, 8, 0))
