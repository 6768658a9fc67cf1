"""The control beside a canary: a copy of live that gets as many requests; the canary's times are compared with its."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from serve_calls import Client, function, request, run
from torch import nn

from gatewise import serve, surgery
from gatewise.core import GatewiseError
from gatewise.monitor import LiveJudge, LiveSettings, Log, Record, read_records
from gatewise.versions import Registration, Registry, register


async def ask(client: Client, count: int, path: str = "echo") -> None:
    for number in range(count):
        assert (await client.infer(request([[float(number)]]), path=path)).status == 200
    client.app.recorder.flush()


def routed(canary_share: float) -> tuple[serve.Routes, dict[str, int]]:
    """Live, canary and control, and how often each ran."""
    ran = {"live": 0, "canary": 0, "control": 0}

    def version(who: str, label: str) -> serve.Function:
        def call(x: np.ndarray) -> np.ndarray:
            ran[who] += len(x)
            return x

        return function(call, label)

    live, canary, control = version("live", "1"), version("canary", "2"), version("control", "1")
    return serve.Routes(live=live, canary=canary, canary_share=canary_share, control=control), ran


def test_the_control_gets_as_many_requests_as_the_canary_and_answers_as_live() -> None:
    routes, ran = routed(0.2)
    client = Client([routes])
    run(lambda: ask(client, 400))
    client.close()
    assert sum(ran.values()) == 400
    assert 45 < ran["canary"] < 120  # 80 expected; five standard deviations are 40
    assert 45 < ran["control"] < 120
    by = {(each.role, each.version, each.control): 0 for each in client.records}
    for each in client.records:
        by[each.role, each.version, each.control] += 1
    assert by == {
        ("live", "1", None): ran["live"],
        ("canary", "2", False): ran["canary"],
        ("live", "1", True): ran["control"],
    }
    roles = [(each["role"], each["version"], each["requests"]) for each in client.app.stats()["models"][0]["versions"]]
    assert roles == [("live", "1", ran["live"]), ("canary", "2", ran["canary"]), ("control", "1", ran["control"])]


def test_at_half_or_more_live_itself_is_the_control() -> None:
    live, canary, copy = (function(lambda x: x, label) for label in ("1", "2", "1"))
    client = Client([serve.Routes(live=live, canary=canary, canary_share=0.6)])
    run(lambda: ask(client, 60))
    client.close()
    assert {(each.role, each.control) for each in client.records} == {("live", True), ("canary", False)}
    with pytest.raises(GatewiseError, match="live itself is the control"):
        serve.Routes(live=live, canary=canary, canary_share=0.5, control=copy)


def test_without_a_control_nobody_is_on_a_side() -> None:
    live, canary = (function(lambda x: x, label) for label in ("1", "2"))
    client = Client([serve.Routes(live=live, canary=canary, canary_share=0.4)])
    run(lambda: ask(client, 40))
    client.close()
    assert {(each.role, each.control) for each in client.records} == {("live", None), ("canary", None)}


def test_who_asks_for_a_version_by_name_is_of_no_comparison() -> None:
    routes, ran = routed(0.4)
    client = Client([routes])

    async def use() -> None:
        await ask(client, 10, "echo/versions/2")
        await ask(client, 10, "echo/versions/1")

    run(use)
    client.close()
    assert ran == {"live": 10, "canary": 10, "control": 0}
    assert {each.control for each in client.records} == {None}


def test_a_control_that_is_none_is_refused() -> None:
    live, canary = function(lambda x: x, "1"), function(lambda x: x, "2")
    for wrong in (live, canary, function(lambda x: x, "3")):
        with pytest.raises(GatewiseError, match="control must be a second copy of live"):
            serve.Routes(live=live, canary=canary, control=wrong)
    with pytest.raises(GatewiseError, match="no version is canary"):
        serve.Routes(live=live, control=function(lambda x: x, "1"))
    copy = function(lambda x: x, "1")
    with pytest.raises(GatewiseError, match="second copy of live"):
        serve.Routes(live=live, canary=canary, shadow=function(lambda x: x, "3"), control=copy, beside=copy)


def test_the_follower_loads_a_control_with_the_canary_and_none_without(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry", create=True)
    for label, seed in (("v1", 0), ("v2", 1)):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3))
        surgery.save(model.eval(), str(tmp_path / label))
        register(registry, Registration(target=str(tmp_path / label), model="m", version=label))
    registry.promote("m", "v1")
    follow: dict[str, Any] = {"plan": serve.ResourcePlan()}
    assert serve.Follower(registry, "m", shares=serve.Shares(), **follow).routes.control is None
    registry.promote("m", "v2", "canary")
    routes = serve.Follower(registry, "m", shares=serve.Shares(), **follow).routes
    assert routes.control is not None
    assert routes.control is not routes.live
    assert (routes.control.version, routes.control.digest) == ("v1", routes.live.digest)
    for none in (serve.Shares(beside=False), serve.Shares(canary=0.5), serve.Shares(canary=0.0)):
        assert serve.Follower(registry, "m", shares=none, **follow).routes.control is None
    registry.promote("m", "v1", "canary")
    twins = serve.Follower(registry, "m", shares=serve.Shares(), **follow).routes
    assert len({id(each) for each in (twins.live, twins.canary, twins.control)}) == 3


def dealt(seed: int, n: int, *, slower: float = 0.0, share: float = 0.15) -> list[Record]:
    """Live warm and fast; canary and control cold, each with a share of the requests, under one load."""
    rng = np.random.default_rng(seed)
    load = 0.3 * np.sin(np.arange(n) / 200)
    found: list[Record] = []
    for i in range(n):
        draw = rng.random()
        base = Record(request=str(i), at_ns=i * 10**9, model="m", version="v1", digest="1", role="live")
        cold_s = 0.02 * float(np.exp(load[i] + rng.normal(0, 0.15))) * (8.0 if rng.random() < 0.06 else 1.0)
        if draw < share:
            took_s = cold_s * (1 + slower)
            record = dataclasses.replace(base, version="v2", digest="2", role="canary", control=False)
        elif draw < 2 * share:
            took_s, record = cold_s, dataclasses.replace(base, control=True)
        else:
            took_s, record = 0.012 * float(np.exp(load[i] + rng.normal(0, 0.1))), base
        found.append(dataclasses.replace(record, compute_s=took_s))
    return found


def alarms(records: list[Record], **settings: Any) -> list[Any]:
    judge = LiveJudge(LiveSettings(**settings))
    return [alarm for each in records for alarm in judge.add(each)]


def test_the_judge_compares_the_canary_with_its_control_and_not_with_all_of_live() -> None:
    records = dealt(0, 6_000)
    judge = LiveJudge(LiveSettings(tail_limit_s=0.08, canary_share=0.15))
    assert [alarm for each in records for alarm in judge.add(each)] == []
    found = {each.metric: each for each in judge.comparisons()}
    assert found["latency"].estimate == pytest.approx(1.0, abs=0.05)
    assert found["latency"].notes["control"] is True
    assert (found["latency"].notes["live"], found["latency"].notes["canary"]) == (
        sum(each.control is True for each in records),
        sum(each.control is False for each in records),
    )
    # errors take every request but those before the first canary's
    assert sum(found["errors"].notes[side] for side in ("live", "canary")) > 5_900
    cold = alarms([dataclasses.replace(each, control=None) for each in records], tail_limit_s=0.08)
    assert {alarm.kind for alarm in cold} == {"latency", "tail"}
    assert {alarm.severity for alarm in cold} == {"ticket"}


def test_a_canary_slower_than_its_control_pages() -> None:
    (alarm,) = alarms(dealt(1, 12_000, slower=0.2), metrics=("latency",))
    assert (alarm.kind, alarm.version, alarm.baseline, alarm.severity) == ("latency", "v2", "v1", "page")


def test_a_record_keeps_the_side_it_was_on(tmp_path: Path) -> None:
    sides = {each.request: each.control for each in dealt(2, 60)}
    assert set(sides.values()) == {True, False, None}
    with Log(tmp_path / "records") as log:
        for each in dealt(2, 60):
            log.append(each)
    assert {each.request: each.control for each in read_records(tmp_path / "records")} == sides
