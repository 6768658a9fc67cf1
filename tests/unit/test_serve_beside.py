"""The copy of live beside a shadow: whose times a pair is judged by."""

import asyncio
import dataclasses
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from serve_calls import Client, function, request, run
from torch import nn

from gatewise import serve, surgery
from gatewise.core import GatewiseError
from gatewise.monitor import LiveJudge, LiveSettings, Record
from gatewise.serve._beside import Beside
from gatewise.versions import Registration, Registry, register

SLOW_S = 0.03


class Calls:
    """Versions that say who ran, on which thread."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []

    def version(self, who: str, label: str, *, takes_s: float = 0.0) -> serve.Function:
        def call(x: np.ndarray) -> np.ndarray:
            time.sleep(takes_s)
            self.seen.append((who, threading.get_ident(), len(x)))
            return x

        return function(call, label)


async def asked(client: Client, count: int, each: int = 2, path: str = "echo") -> None:
    """Ask one after another, each once the `each` records of the one before are there: so no two share a batch."""
    for n in range(count):
        assert (await client.infer(request([[float(n)]]), path=path)).status == 200
        await settled(client, each * (n + 1))


async def settled(client: Client, records: int) -> None:
    for _ in range(2000):
        client.app.recorder.flush()
        if len(client.records) >= records:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{len(client.records)} records, not {records}")


def test_shadow_and_copy_run_on_one_thread_in_random_order_and_the_record_tells() -> None:
    calls = Calls()
    routes = serve.Routes(
        live=calls.version("live", "1"),
        shadow=calls.version("shadow", "2"),
        shadow_share=1.0,
        beside=calls.version("copy", "1"),
    )
    client = Client([routes])
    run(lambda: asked(client, 60))
    client.close()
    behind = [(who, thread) for who, thread, _ in calls.seen if who != "live"]
    assert len(behind) == 120
    assert len({thread for _, thread in behind}) == 1
    assert behind[0][1] not in {thread for who, thread, _ in calls.seen if who == "live"}
    order = [behind[at][0] == "shadow" for at in range(0, 120, 2)]
    assert [{behind[at][0], behind[at + 1][0]} for at in range(0, 120, 2)] == [{"shadow", "copy"}] * 60
    assert 10 < sum(order) < 50  # 60 fair coins lie outside once in a billion
    shadows = sorted((each for each in client.records if each.role == "shadow"), key=lambda each: each.at_ns)
    assert [each.first for each in shadows] == order
    assert all(each.beside_s is not None and each.beside_s > 0 for each in shadows)
    assert all(each.beside_s is None and each.first for each in client.records if each.role == "live")


def test_a_batch_is_one_pair_of_times() -> None:
    calls = Calls()
    routes = serve.Routes(
        live=calls.version("live", "1", takes_s=SLOW_S),
        shadow=calls.version("shadow", "2", takes_s=SLOW_S),
        shadow_share=1.0,
        beside=calls.version("copy", "1", takes_s=SLOW_S),
    )
    client = Client([routes], serve.ServeSettings(max_batch=8, slot_s=0.0))

    async def use() -> None:
        answers = await asyncio.gather(*(client.infer(request([[float(n)]])) for n in range(16)))
        assert {each.status for each in answers} == {200}
        await settled(client, 32)

    run(use)
    client.close()
    shadows = [each for each in client.records if each.role == "shadow"]
    batches = [rows for who, _, rows in calls.seen if who == "shadow"]
    assert sum(batches) == 16
    assert max(batches) > 1
    assert [rows for who, _, rows in calls.seen if who == "copy"] == batches
    timed = [each for each in shadows if each.beside_s]
    assert len(timed) == len(batches)
    assert {each.beside_s for each in shadows if each not in timed} == {0.0}
    assert all(SLOW_S <= value < 1.0 for each in timed for value in (each.beside_s or 0.0, each.compute_s))


def test_a_copy_that_fails_or_is_at_work_costs_only_the_times() -> None:
    def broken(x: np.ndarray) -> np.ndarray:
        raise RuntimeError("out of memory")

    live, shadow = function(lambda x: x, "1"), function(lambda x: x, "2")
    client = Client([serve.Routes(live=live, shadow=shadow, shadow_share=1.0, beside=function(broken, "1"))])
    run(lambda: asked(client, 5))
    client.close()
    shadows = [each for each in client.records if each.role == "shadow"]
    assert [(each.status, each.beside_s) for each in shadows] == [("ok", 0.0)] * 5
    assert client.app.deployments["echo"].stats()["beside_failed"] == 5

    inside, done = threading.Event(), threading.Event()

    def long(x: np.ndarray) -> np.ndarray:
        inside.set()
        done.wait(10)
        return x

    beside, batch = Beside(function(long, "1")), {"x": np.ones((1, 1), np.float32)}
    first = threading.Thread(target=beside.run, args=(shadow, batch))
    first.start()
    assert inside.wait(10)
    assert beside.run(shadow, batch).beside_s == 0.0  # another shadow's thread is in it
    done.set()
    first.join(10)
    assert beside.run(shadow, batch).beside_s > 0.0


def test_a_pair_runs_on_the_copy_of_the_version_that_answered_it() -> None:
    calls, gate = Calls(), threading.Event()

    def held(x: np.ndarray) -> np.ndarray:
        gate.wait(10)
        return x

    shadow = function(held, "3")
    before = serve.Routes(
        live=calls.version("one", "1"), shadow=shadow, shadow_share=1.0, beside=calls.version("copy of one", "1")
    )
    after = serve.Routes(
        live=calls.version("two", "2"), shadow=shadow, shadow_share=1.0, beside=calls.version("copy of two", "2")
    )
    client = Client([before], serve.ServeSettings(max_batch=1))

    async def use() -> None:
        assert (await client.infer(request([[0.0]]))).json["model_version"] == "1"
        assert (await client.infer(request([[1.0]]))).json["model_version"] == "1"
        client.app.route(after)
        assert (await client.infer(request([[2.0]]))).json["model_version"] == "2"
        gate.set()
        await settled(client, 6)

    run(use)
    client.close()
    assert [who for who, *_ in calls.seen if who.startswith("copy")] == ["copy of one"] * 2 + ["copy of two"]


def test_who_asks_for_the_shadow_by_name_does_not_wait_for_the_copy() -> None:
    calls = Calls()
    routes = serve.Routes(
        live=calls.version("live", "1"), shadow=calls.version("shadow", "2"), beside=calls.version("copy", "1")
    )
    client = Client([routes])
    run(lambda: asked(client, 5, 1, path="echo/versions/2"))
    client.close()
    assert [who for who, *_ in calls.seen] == ["shadow"] * 5
    assert {(each.role, each.beside_s) for each in client.records} == {("shadow", None)}


def test_a_copy_that_is_none_is_refused() -> None:
    live, shadow = function(lambda x: x, "1"), function(lambda x: x, "2")
    for wrong in (live, shadow, function(lambda x: x, "3")):
        with pytest.raises(GatewiseError, match="second copy of live"):
            serve.Routes(live=live, shadow=shadow, beside=wrong)
    with pytest.raises(GatewiseError, match="no version is shadow"):
        serve.Routes(live=live, beside=function(lambda x: x, "1"))


def test_a_plan_counts_the_copies_memory() -> None:
    plan = serve.ResourcePlan(shares={"1": serve.Share(memory_bytes=1 << 30), "2": serve.Share()}, spare_bytes=0)
    assert plan.check(cores=4, memory_bytes=3 << 29) == []
    with pytest.raises(GatewiseError, match=r"2048 MiB \(with 1 once more\)"):
        plan.check(cores=4, memory_bytes=3 << 29, again=("1",))


def test_the_follower_loads_the_copy_with_the_shadow(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry", create=True)
    for label, seed in (("v1", 0), ("v2", 1)):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3))
        surgery.save(model.eval(), str(tmp_path / label))
        register(registry, Registration(target=str(tmp_path / label), model="m", version=label))
    registry.promote("m", "v1")
    follow = {"plan": serve.ResourcePlan()}
    alone = serve.Follower(registry, "m", shares=serve.Shares(), **follow)
    assert alone.routes.beside is None
    registry.promote("m", "v2", "shadow")
    routes = serve.Follower(registry, "m", shares=serve.Shares(), **follow).routes
    assert routes.beside is not None
    assert routes.beside is not routes.live
    assert (routes.beside.version, routes.beside.digest) == ("v1", routes.live.digest)
    assert serve.Follower(registry, "m", shares=serve.Shares(beside=False), **follow).routes.beside is None
    registry.promote("m", "v1", "shadow")
    twins = serve.Follower(registry, "m", shares=serve.Shares(), **follow).routes
    assert len({id(each) for each in (twins.live, twins.shadow, twins.beside)}) == 3


def paired(seed: int, n: int, *, slower: float = 0.0, **none: Any) -> list[Record]:
    """Live fast and calm, the shadow's own answers slow with a long tail; the copy beside it like the shadow."""
    rng = np.random.default_rng(seed)
    found: list[Record] = []
    for i in range(n):
        load = rng.normal(0, 0.2)
        times = np.exp(load + rng.normal(0, 0.1, 2)) * 0.02 * np.where(rng.random(2) < 0.02, 8.0, 1.0)
        base = Record(request=str(i), at_ns=i * 10**9, model="m", version="v1", digest="1", role="live", **none)
        found.append(dataclasses.replace(base, compute_s=0.01 * float(np.exp(rng.normal(0, 0.05))), first=True))
        shadow = dataclasses.replace(base, version="v2", digest="2", role="shadow", first=bool(rng.random() < 0.5))
        compute_s = float(times[1]) * (1 + slower)
        found.append(dataclasses.replace(shadow, compute_s=compute_s, beside_s=float(times[0])))
    return found


def test_the_judge_takes_the_copys_time_and_not_lives() -> None:
    equal = LiveJudge(LiveSettings(tail_window=500))
    assert [alarm for each in paired(0, 3_000) for alarm in equal.add(each)] == []
    found = {each.metric: each for each in equal.comparisons()}
    assert found["latency"].estimate == pytest.approx(1.0, abs=0.02)
    assert found["tail"].n == 2_500
    without = LiveJudge(LiveSettings(tail_window=500))
    stripped = [dataclasses.replace(each, beside_s=None) for each in paired(0, 3_000)]
    assert {alarm.kind for each in stripped for alarm in without.add(each)} == {"latency", "tail"}
    slower = LiveJudge(LiveSettings(metrics=("latency",)))
    (alarm,) = [alarm for each in paired(1, 3_000, slower=0.1) for alarm in slower.add(each)]
    assert (alarm.kind, alarm.version, alarm.baseline) == ("latency", "v2", "v1")


def test_a_pair_whose_batch_is_timed_elsewhere_says_nothing_of_time() -> None:
    records = [dataclasses.replace(each, beside_s=0.0) if each.role == "shadow" else each for each in paired(2, 800)]
    judge = LiveJudge(LiveSettings(tail_limit_s=0.05))
    assert [alarm for each in records for alarm in judge.add(each)] == []
    found = {each.metric: each for each in judge.comparisons()}
    assert (found["latency"].n, found["tail"].n, found["errors"].n) == (0, 0, 800)
