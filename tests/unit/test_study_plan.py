"""Plans: what is read, what is refused and how, and that nothing is lost on the way through a record."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.core import GatewiseError
from gatewise.study import apply_settings, builtin, read_plan, to_plan
from gatewise.study._plan import from_json, seconds

MINIMAL: dict[str, Any] = {"study": {"arms": ["gelu", "relu"]}, "subject": {"workload": "sentence-encoder"}}


def document(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy({**MINIMAL, **changes})


def test_the_smallest_plan_gets_the_defaults() -> None:
    plan = to_plan(document())
    (part,) = plan.parts
    assert part.baseline == "gelu"
    assert part.measure is not None
    assert part.measure.batch == (1, 32)
    assert part.judge.margin_of("latency") == 0.02
    assert part.judge.margin_of("heldout_loss") == 0.005
    assert part.judge.alpha == 0.05


def test_the_builtin_study_is_a_valid_plan() -> None:
    plan = to_plan(builtin())
    assert [part.name for part in plan.parts] == ["inference", "training"]
    assert plan.parts[1].train is not None
    assert plan.parts[1].train.seeds >= 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"study": {"arms": ["gelu", "relu"], "bugdet": "2m"}}, "did you mean 'budget'"),
        ({"studdy": {}}, "did you mean 'study'"),
        ({"measure": {"metrics": ["latncy"]}}, "did you mean 'latency'"),
        ({"measure": {"bach": [1]}}, "did you mean 'batch'"),
        ({"measure": {"metrics": ["heldout_loss"]}}, r"\[train\]"),
        ({"measure": {"batch": [0]}}, "whole numbers above 0"),
        ({"measure": {"batch": [1, 1]}}, "twice"),
        ({"measure": {"batch": ["a"]}}, "whole numbers above 0"),
        ({"study": {"arms": ["gelu"]}}, "at least two arms"),
        ({"study": {"arms": ["gelu", "gelu"]}}, "label 'gelu'"),
        ({"study": {"arms": ["gelu", "relu"], "baseline": "silu"}}, "baseline 'silu' is not an arm"),
        ({"study": {"arms": "gelu"}}, "must be a list"),
        ({"study": {"arms": ["gelu", {"label": "x"}]}}, "needs a name"),
        ({"study": {"arms": ["gelu", {"name": "relu", "colour": 1}]}}, "unknown key in arm 'colour'"),
        ({"study": {"arms": ["gelu", {"name": "relu", "matching": "size"}]}}, "matching is params"),
        ({"study": {"arms": [{"name": "gelu", "slowdown": 0.1}, "relu"]}}, "not in the baseline"),
        ({"study": {"arms": ["gelu", "relu"], "budget": "soon"}}, "time span"),
        ({"study": {"arms": ["gelu", "relu"], "seed": -1}}, "seed must be"),
        ({"subject": {}}, "either workload or model"),
        ({"subject": {"workload": "a", "model": "b"}}, "either workload or model"),
        ({"subject": {"model": "m", "data": "d.csv"}}, "all three"),
        ({"judge": {"alpha": 0}}, "alpha must"),
        ({"judge": {"margin": {"latency": -1}}}, "judge.margin.latency"),
        ({"judge": {"margin": {"latnecy": 0.1}}}, "did you mean 'latency'"),
        ({"judge": {"margin": 0.1}}, "must be a table"),
        ({"train": {"seeds": 1}}, "seeds must be 2 or more"),
        ({"train": {"seeds": "six"}}, "whole number"),
        ({"cost": {"price_per_hour": 0.4, "utilisation": 3}}, "share from 0 to 1"),
        ({"study": {"arms": ["gelu", {"name": 3}]}}, "arm.name must be text"),
        ({"study": {"arms": ["gelu", "relu"], "baseline": []}}, "baseline must be text"),
        ({"study": {"arms": ["gelu", "relu"], "name": []}}, "name must be text"),
        ({"study": {"arms": ["gelu", "relu"], "seed": 2**70}}, "seed must be"),
        ({"measure": {"metrics": []}}, "list of names"),
        ({"measure": {"metrics": [["latency"]]}}, "list of names"),
        ({"measure": {"runtimes": [{"a": 1}]}}, "list of names"),
        ({"measure": {"device": "mars"}}, "device is cpu"),
        ({"measure": {"device": "cuda", "metrics": ["peak_memory"]}}, "measured on the CPU"),
        ({"measure": {"allocator": "arena"}}, "allocator is recycled"),
        ({"cost": {"utilisation": 0.5}}, "needs a price_per_hour"),
        ({"part": "x"}, r"\[\[part\]\] tables"),
        ({"part": [{}]}, "must stand inside each part"),
    ],
)
def test_a_wrong_plan_is_refused_in_two_lines_at_most(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(GatewiseError, match=words) as caught:
        to_plan(document(**changes))
    assert len(str(caught.value).splitlines()) <= 2


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(GatewiseError, match="cannot read the plan"):
        read_plan(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[study\nname=1")
    with pytest.raises(GatewiseError, match="not valid TOML"):
        read_plan(broken)
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GatewiseError, match="not UTF-8"):
        read_plan(broken)


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90), ("90s", 90), ("2m", 120), ("1.5h", 5400), (" 2 min ", 120), (30, 30)]
)
def test_time_spans(text: str | int, value: float) -> None:
    assert seconds(text) == value


def test_settings_reach_anything() -> None:
    tables = document()
    apply_settings(tables, ["measure.batch=[4]", "judge.margin.latency=0.1", "study.baseline=relu"])
    (part,) = to_plan(tables).parts
    assert part.measure is not None
    assert part.measure.batch == (4,)
    assert part.judge.margin_of("latency") == 0.1
    assert part.baseline == "relu"


@pytest.mark.parametrize("setting", ["batch=1", "measure.batch", "=1", ".x=1"])
def test_a_setting_without_a_table_is_refused(setting: str) -> None:
    with pytest.raises(GatewiseError, match=r"TABLE\.KEY=VALUE"):
        apply_settings(document(), [setting])


def test_a_setting_that_starts_like_toml_must_be_toml() -> None:
    with pytest.raises(GatewiseError, match="not valid TOML"):
        apply_settings(document(), ["measure.batch=[1,"])


@given(
    st.lists(st.integers(1, 64), min_size=1, max_size=3, unique=True),
    st.integers(0, 1000),
    st.floats(0.001, 0.4),
    st.booleans(),
)
def test_a_plan_survives_its_record(batch: list[int], seed: int, alpha: float, trains: bool) -> None:
    tables = document(
        study={"arms": ["gelu", {"name": "relu", "label": "r", "slowdown": 0.5}], "seed": seed},
        measure={"batch": batch},
        judge={"alpha": alpha, "margin": {"latency": 0.1}},
        cost={"price_per_hour": 0.4},
        **({"train": {"seeds": 3}} if trains else {}),
    )
    plan = to_plan(tables)
    assert from_json(plan.to_json()) == plan
    assert from_json(plan.to_json()).fingerprint == plan.fingerprint


def test_the_fingerprint_ignores_the_budget_and_nothing_else() -> None:
    one = to_plan(document())
    longer = to_plan(document(study={"arms": ["gelu", "relu"], "budget": "1h"}))
    other = to_plan(document(study={"arms": ["gelu", "relu"], "seed": 1}))
    assert one.fingerprint == longer.fingerprint
    assert one.fingerprint != other.fingerprint
