"""What is done about an alarm by itself, and what is left alone."""

from pathlib import Path

import pytest

from gatewise import serve
from gatewise.core import GatewiseError
from gatewise.monitor import Action, ActionGuard, Alarm
from gatewise.versions import Registry, Version


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    made = Registry(tmp_path / "registry", create=True)
    for number, label in enumerate(("v1", "v2", "v3")):
        made.add(
            Version(model="m", version=label, digest=f"{number:064x}", threads=1, registered="2026-05-01", by="ada")
        )
    made.promote("m", "v1")
    return made


def alarm(version: str, kind: str = "errors", baseline: str | None = None) -> Alarm:
    return Alarm(kind=kind, model="m", version=version, baseline=baseline, at_ns=1, summary="too many fail")


def act(registry: Registry, what: Alarm) -> list[str]:
    done: list[str] = []
    undo = serve.Undo(registry, lambda _, line: done.append(line))
    assert undo.possible(what) == (undo.way(what) is not None)
    if undo.possible(what):
        undo.act(what)
    return done


def test_an_alarm_about_the_canary_takes_it_out(registry: Registry) -> None:
    registry.promote("m", "v2", "canary")
    assert act(registry, alarm("v2", baseline="v1", kind="latency")) == ["took the canary v2 of m out"]
    move = registry.history("m", "canary")[-1]
    assert (move.after, move.because, move.by) == (None, "latency alarm: too many fail", "gatewise serve")
    assert registry.alias("m").version == "v1"


@pytest.mark.parametrize("baseline", [None, "v1"])
def test_an_alarm_about_live_goes_back_to_what_it_replaced(registry: Registry, baseline: str | None) -> None:
    registry.promote("m", "v2")
    assert act(registry, alarm("v2", baseline=baseline)) == ["rolled m back from v2 to v1"]
    move = registry.history("m")[-1]
    assert (move.before, move.after, move.kind) == ("v2", "v1", "rollback")


def test_nothing_is_done_where_it_would_help_nobody(registry: Registry) -> None:
    assert act(registry, alarm("v1")) == []  # nothing before it
    assert registry.before("m") is None
    registry.promote("m", "v2")
    assert registry.before("m") == "v1"
    registry.promote("m", "v3", "shadow")
    before = registry.aliases("m")
    assert act(registry, alarm("v3", baseline="v2")) == []  # a shadow answers nobody
    assert act(registry, alarm("v2", baseline="v3")) == []  # it would not go back to v3
    assert act(registry, alarm("v2", baseline="v2")) == []  # a version against itself
    assert act(registry, alarm("v1")) == []  # gone already
    assert registry.aliases("m") == before


def test_who_moved_the_alias_meanwhile_wins(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.promote("m", "v2")
    undo = serve.Undo(registry, lambda *_: None)
    monkeypatch.setattr(undo, "way", lambda _: "live")
    registry.promote("m", "v3")
    with pytest.raises(GatewiseError, match="not at v2"):
        undo.act(alarm("v2"))
    assert registry.alias("m").version == "v3"


def test_the_guard_bounds_how_often(registry: Registry) -> None:
    registry.promote("m", "v2")
    registry.promote("m", "v3")
    now = [0.0]
    undo = serve.Undo(registry, lambda *_: None)
    guard = ActionGuard(kinds=("errors",), severities=("ticket",), cool_down_s=60, most_per_hour=2)
    action = Action("rollback", undo.act, possible=undo.possible, guard=guard, clock=lambda: now[0])
    action.send(alarm("v3"))
    with pytest.raises(GatewiseError, match="not again within 60 s"):
        action.send(alarm("v2"))
    assert registry.alias("m").version == "v2"
    now[0] = 61.0
    action.send(alarm("v2"))
    assert registry.alias("m").version == "v1"


@pytest.mark.parametrize("kind", ["drift", "estimate", "eror"])
def test_what_no_older_version_cures_is_refused(kind: str) -> None:
    with pytest.raises(GatewiseError, match="kind of alarm to roll back on"):
        serve.check_kinds((kind,))
