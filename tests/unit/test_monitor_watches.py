"""The watches over each version: what they learn of the first traffic, and the same alarms when it is read again."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from gatewise.core import GatewiseError
from gatewise.monitor import (
    Alarm,
    DriftSettings,
    ErrorSettings,
    Label,
    Record,
    Reference,
    Watches,
    WatchSettings,
)

SECOND = 10**9


def records(n: int, *, moved: float = 0.0, start: int = 0, seed: int = 0) -> list[Record]:
    luck = random.Random(seed)
    return [
        Record(
            request=f"r{start + each}",
            at_ns=(start + each + 1) * SECOND,
            model="m",
            version="v1",
            digest="d",
            role="live",
            features={"x.mean": luck.gauss(moved, 1.0)},
            predictions=(float(luck.random() < 0.5),),
            confidences=(0.9,),
        )
        for each in range(n)
    ]


def shown(watches: Watches, given: list[Record]) -> list[Alarm]:
    return [alarm for each in given for alarm in watches.add(each)]


def test_a_reference_is_learnt_kept_and_gives_the_same_alarms_again(tmp_path: Path) -> None:
    traffic = [*records(300), *records(300, moved=2.0, start=300, seed=1)]
    first = shown(Watches(tmp_path, WatchSettings(learn_reference=200)), traffic)
    assert [(alarm.kind, alarm.evidence["feature"]) for alarm in first] == [("drift", "input x.mean")]
    kept = Reference.from_json((tmp_path / "references" / "m" / "v1.json").read_text())
    assert kept.after_ns == 200 * SECOND
    assert shown(Watches(tmp_path), traffic) == first


def test_what_came_before_the_reference_is_not_compared(tmp_path: Path) -> None:
    late = replace(Reference.of(records(300)), after_ns=300 * SECOND)
    Watches(tmp_path).put("m", "v1", late)
    assert shown(Watches(tmp_path), records(300, moved=2.0)) == []
    assert len(shown(Watches(tmp_path), records(300, moved=2.0, start=300))) == 1


def test_merged_references_begin_with_the_later_one() -> None:
    one, other = Reference.of(records(10)), replace(Reference.of(records(10)), after_ns=7)
    assert one.merged(other).after_ns == 7
    assert Reference.from_json(other.to_json()) == other


def test_failures_of_live_and_canary_count_and_those_of_a_shadow_do_not(tmp_path: Path) -> None:
    settings = WatchSettings(errors=ErrorSettings(allowed=0.01, false_alarm_every=1000))
    failed = [replace(each, status="error") for each in records(50)]
    alarms = shown(Watches(tmp_path, settings), [replace(each, role="canary") for each in failed])
    assert [alarm.kind for alarm in alarms] == ["errors"]
    assert shown(Watches(tmp_path, settings), [replace(each, role="shadow") for each in failed]) == []
    assert shown(Watches(tmp_path), failed) == []


def test_an_estimate_learns_from_the_first_labels(tmp_path: Path) -> None:
    watches = Watches(tmp_path, WatchSettings(learn_estimate=100))
    luck = random.Random(2)
    for each in records(700):
        watches.add(each)
        right = luck.random() < 0.9
        watches.label(
            Label(request=each.request, value=each.predictions[0] if right else 2.0, at_ns=each.at_ns + SECOND)
        )
    state = watches.estimates()["m", "v1"]
    assert state["trust"] == "holds"
    assert state["estimate"]["low"] < 0.9 < state["estimate"]["high"]


def test_a_name_that_leads_out_of_the_folder_has_no_reference(tmp_path: Path) -> None:
    with pytest.raises(GatewiseError, match="no place"):
        Watches(tmp_path / "records").put("..", "../evil", Reference.of(records(10)))
    assert not (tmp_path / "evil.json").exists()


@pytest.mark.parametrize("given", [{"learn_reference": 5}, {"learn_estimate": 1}, {"learn_reference": -1}])
def test_too_little_to_learn_from(given: dict[str, int]) -> None:
    with pytest.raises(GatewiseError, match=next(iter(given))):
        WatchSettings(drift=DriftSettings(), **given)  # pyright: ignore[reportArgumentType]
