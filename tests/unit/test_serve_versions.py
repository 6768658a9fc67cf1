"""Several versions of a model: shadow pairs, canary, promotion, and the resources that each is given."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from serve_calls import Client, function, request, run

from gatewise import serve
from gatewise.core import GatewiseError
from gatewise.monitor import Alarm, Label, Record


async def ask(client: Client, times: int) -> list[Any]:
    return await asyncio.gather(*(client.infer(request([[float(n)]], id=f"r{n}")) for n in range(times)))


async def settle(client: Client, count: int) -> None:
    for _ in range(2000):
        if len(client.records) >= count:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{len(client.records)} records, not {count}")


def test_a_shadow_pair_is_two_records_of_one_request_in_random_order() -> None:
    live, shadow = function(lambda x: x, "1"), function(lambda x: -x, "2")
    client = Client([serve.Routes(live=live, shadow=shadow, shadow_share=1.0)])

    async def use() -> None:
        answers = await ask(client, 60)
        assert [each.json["outputs"][0]["data"] for each in answers] == [[float(n)] for n in range(60)]
        assert {each.json["model_version"] for each in answers} == {"1"}
        await settle(client, 120)

    run(use)
    pairs: dict[str, list[Record]] = {}
    for each in client.records:
        pairs.setdefault(each.request, []).append(each)
    assert len(pairs) == 60
    for pair in pairs.values():
        assert {(each.role, each.version) for each in pair} == {("live", "1"), ("shadow", "2")}
        assert sorted(each.first for each in pair if each.first is not None) == [False, True]
        assert len({each.fingerprint for each in pair}) == 1
    firsts = sum(each.first is True for each in client.records if each.role == "live")
    assert 10 < firsts < 50  # 60 fair coins lie outside once in a billion


def test_neither_failure_nor_slowness_of_a_shadow_touches_the_answer() -> None:
    stuck = threading.Event()

    def bad(x: np.ndarray) -> np.ndarray:
        stuck.wait(10)
        raise RuntimeError("broken")

    live, shadow = function(lambda x: x, "1"), function(bad, "2")
    routes = serve.Routes(live=live, shadow=shadow, shadow_share=1.0)
    client = Client([routes], serve.ServeSettings(max_queue=5, max_batch=1))

    async def use() -> None:
        for n in range(20):  # one after another, each answered while the shadow is stuck
            assert (await client.infer(request([[float(n)]]))).status == 200
        counts = client.app.stats()["models"][0]["counts"]
        assert counts["pairs"] + counts["pairs_dropped"] == 20
        assert counts["pairs_dropped"] >= 14
        stuck.set()
        await settle(client, 20 + counts["pairs"])

    run(use)
    dropped = [each for each in client.records if each.role == "live" and each.first is None]
    assert len(dropped) >= 14
    assert {each.status for each in client.records if each.role == "shadow"} == {"error"}


def test_a_share_of_shadows_is_kept() -> None:
    live, shadow = function(lambda x: x, "1"), function(lambda x: x, "2")
    routes = serve.Routes(live=live, shadow=shadow, shadow_share=0.5)
    client = Client([routes], serve.ServeSettings(slot_s=0.0))
    run(lambda: ask(client, 200))
    assert 50 < client.app.stats()["models"][0]["counts"]["pairs"] < 150


def test_a_canary_answers_its_share_and_is_named() -> None:
    live, canary = function(lambda x: x, "1"), function(lambda x: -x, "2")
    client = Client([serve.Routes(live=live, canary=canary, canary_share=0.3)])
    answers = run(lambda: ask(client, 200))
    by_canary = [each.json["model_version"] == "2" for each in answers]
    assert 25 < sum(by_canary) < 100
    for number, (answer, canaried) in enumerate(zip(answers, by_canary, strict=True)):
        assert answer.json["outputs"][0]["data"] == [-float(number) if canaried else float(number)]
    assert {(each.role, each.version) for each in client.records} == {("live", "1"), ("canary", "2")}


def test_a_named_version_is_the_one_that_answers() -> None:
    live, canary = function(lambda x: x, "1"), function(lambda x: -x, "2")
    client = Client([serve.Routes(live=live, canary=canary)])

    async def use() -> None:
        for version, sign in (("1", 1.0), ("2", -1.0)):
            answer = await client.infer(request([[4.0]]), path=f"echo/versions/{version}")
            assert (answer.json["model_version"], answer.json["outputs"][0]["data"]) == (version, [4.0 * sign])

    run(use)


def test_promotions_under_load_lose_nothing_and_never_mix_versions() -> None:
    inside: dict[str, int] = {"1": 0, "2": 0}

    def model(label: str) -> Any:
        def call(x: np.ndarray) -> np.ndarray:
            inside[label] += 1
            assert inside[label] == 1, "called twice at once"
            found = x * float(label)
            inside[label] -= 1
            return found

        return function(call, label)

    versions = [model("1"), model("2")]
    client = Client([versions[0]])

    async def use() -> None:
        stop = False

        async def caller(number: int) -> int:
            count = 0
            while not stop:
                answer = await client.infer(request([[float(number)]]))
                assert answer.status == 200, answer.body
                assert answer.json["outputs"][0]["data"] == [number * float(answer.json["model_version"])]
                count += 1
            return count

        callers = [asyncio.create_task(caller(n)) for n in range(1, 9)]
        for n in range(100):
            await asyncio.to_thread(client.app.route, serve.Routes(live=versions[(n + 1) % 2]))
        stop = True
        assert min(await asyncio.gather(*callers)) > 0

    run(use)
    assert {each.status for each in client.records} == {"ok"}
    assert {each.version for each in client.records} == {"1", "2"}


def test_routes_that_cannot_be_are_refused() -> None:
    one, two = function(lambda x: x, "1"), function(lambda x: x, "2")
    wrong: list[dict[str, Any]] = [
        {"live": one, "shadow": one, "shadow_share": 1.0},
        {"live": one, "shadow_share": 0.5},
        {"live": one, "canary": two, "canary_share": 1.5},
        {"live": one, "canary": function(lambda x: x, "2", model="other")},
        {"live": one, "canary": function(lambda x: x, "2", width=3)},
    ]
    for each in wrong:
        with pytest.raises(GatewiseError):
            serve.Routes(**each)
    client = Client([one])
    with pytest.raises(GatewiseError):
        client.app.route(serve.Routes(live=function(lambda x: x, "1", model="other")))


def test_a_plan_is_checked_against_the_machine() -> None:
    plan = serve.ResourcePlan(shares={"1": serve.Share(threads=2, memory_bytes=1 << 30), "2": serve.Share()})
    with pytest.raises(GatewiseError, match=r"3 threads .* 2 cores"):
        plan.check(cores=2, memory_bytes=4 << 30)
    with pytest.raises(GatewiseError, match="1024 MiB"):
        plan.check(cores=8, memory_bytes=1 << 30)
    assert any("unequal threads" in line for line in plan.check(cores=8, memory_bytes=4 << 30))
    equal = serve.ResourcePlan(shares={"1": serve.Share(), "2": serve.Share()})
    assert equal.check(cores=8, memory_bytes=4 << 30) == []
    assert any("all 2 cores" in line for line in equal.check(cores=2, memory_bytes=4 << 30))


def test_labels_come_later() -> None:
    found: list[Label] = []
    client = Client([serve.echo()], label=found.append)
    good = b'{"labels": [{"request": "a", "value": 1}, {"request": "a", "row": 2, "value": 0.5, "at_ns": 7}]}'

    async def use() -> None:
        assert (await client.call("POST", "/v2/models/echo/labels", good)).status == 202
        for bad in (b"{}", b"[]", b'{"labels": [{"request": "a"}]}', b'{"labels": [{"request": "a", "value": true}]}',
                    b'{"labels": [{"request": "a", "value": 1}, 3]}', b"{"):  # fmt: skip
            assert (await client.call("POST", "/v2/models/echo/labels", bad)).status == 400

    run(use)
    assert [(each.request, each.row, each.value) for each in found] == [("a", 0, 1.0), ("a", 2, 0.5)]
    assert found[1].at_ns == 7


def test_an_id_that_was_used_is_echoed_but_not_recorded_twice() -> None:
    client = Client([serve.echo()])

    async def use() -> None:
        for n in range(2):
            answer = await client.infer(request([[float(n)]], id="same"))
            assert answer.json["id"] == "same"
        assert answer.headers["gatewise-request"] == client.records[1].request

    run(use)
    assert client.records[0].request == "same"
    assert client.records[1].request != "same"


def test_a_watch_that_fails_never_touches_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(record: Record) -> None:
        raise OSError("no space")

    client = Client([serve.echo()])
    client.app.recorder._watch = broken
    assert run(lambda: client.infer(request([[1.0]]))).status == 200
    assert client.app.stats()["records_failed"] == 1
    assert "no space" in capsys.readouterr().err


def test_a_judge_that_fails_or_lags_costs_records_of_judging_only() -> None:
    class Judge:
        def __init__(self) -> None:
            self.seen: list[str] = []

        def add(self, record: Record) -> list[Alarm]:
            self.seen.append(record.request)
            if record.request == "r1":
                raise ValueError("bad record")
            return [Alarm(kind="errors", model="m", version="1", at_ns=1, summary=record.request)]

        def label(self, label: Label) -> list[Alarm]:
            self.seen.append(f"label of {label.request}")
            return []

    judge, alarms = Judge(), []
    watching = serve.Watching(judges=[judge], alarmed=alarms.append)
    for n in range(3):
        watching.watch(Record(request=f"r{n}", at_ns=n, model="m", version="1", digest="d", role="live"))
    watching.label(Label(request="r0", value=1.0, at_ns=3))
    assert watching.close()
    assert judge.seen == ["r0", "r1", "r2", "label of r0"]
    assert [each.summary for each in alarms] == ["r0", "r2"]
    assert watching.num_failed == 1
