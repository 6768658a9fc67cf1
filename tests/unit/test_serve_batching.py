"""Batches, queues, deadlines, quotas: who waits for whom, and what is refused."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serve_calls import Client, function, request, run

from gatewise import serve
from gatewise.core import GatewiseError
from gatewise.monitor import Record
from gatewise.serve._cost import Cost
from gatewise.serve._quota import Quota


class Gate:
    """A model that waits until it is let through, and keeps what it was called with."""

    def __init__(self) -> None:
        self.batches: list[np.ndarray] = []
        self.open = threading.Event()
        self.inside = 0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.inside += 1
        assert self.inside == 1, "called twice at once"
        self.batches.append(x.copy())
        self.open.wait(10)
        self.inside -= 1
        return 2 * x


async def until(condition: Any) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not happen")


def test_what_waits_runs_together_and_each_gets_its_own_rows() -> None:
    gate = Gate()
    client = Client([function(gate)], serve.ServeSettings(max_batch=8))

    async def use() -> None:
        calls = [asyncio.create_task(client.infer(request([[n], [n + 0.5]]))) for n in range(10)]
        await until(lambda: client.app.deployments["echo"].under_way == 10)
        gate.open.set()
        for number, answer in enumerate(await asyncio.gather(*calls)):
            assert answer.json["outputs"][0]["data"] == [2 * number, 2 * number + 1]

    run(use)
    assert sum(len(each) for each in gate.batches) == 20
    assert max(len(each) for each in gate.batches) == 8
    assert {each.batch_rows for each in client.records} == {len(each) for each in gate.batches}


def test_rows_of_other_sizes_do_not_share_a_batch() -> None:
    gate = Gate()
    client = Client([function(gate)])

    async def use() -> None:
        calls = [asyncio.create_task(client.infer(request(np.ones((1, 1 + n % 3)).tolist()))) for n in range(9)]
        await until(lambda: client.app.deployments["echo"].under_way == 9)
        gate.open.set()
        assert [each.status for each in await asyncio.gather(*calls)] == [200] * 9

    run(use)
    assert len(gate.batches) <= 4


def test_a_request_larger_than_a_batch_runs_alone_and_one_too_large_is_refused() -> None:
    client = Client([function(lambda x: x)], serve.ServeSettings(max_batch=2, max_rows=5))
    assert run(lambda: client.infer(request(np.ones((5, 1)).tolist()))).status == 200
    assert client.records[0].batch_rows == 5
    refused = run(lambda: client.infer(request(np.ones((6, 1)).tolist())))
    assert (refused.status, "5 rows" in refused.json["error"]) == (400, True)


@pytest.mark.parametrize(
    ("error", "status"), [(GatewiseError, 400), (IndexError, 400), (RuntimeError, 400), (MemoryError, 500)]
)
def test_one_bad_request_does_not_fail_those_in_its_batch(error: type[Exception], status: int) -> None:
    gate = Gate()

    def model(x: np.ndarray) -> np.ndarray:
        found = gate(x)
        if (x == 3).any():
            raise error("not three")
        return found

    client = Client([function(model)])

    async def use() -> list[int]:
        calls = [asyncio.create_task(client.infer(request([[float(n)]]))) for n in range(6)]
        await until(lambda: client.app.deployments["echo"].under_way == 6)
        gate.open.set()
        return [each.status for each in await asyncio.gather(*calls)]

    assert run(use) == [200, 200, 200, status, 200, 200]
    assert sorted(each.status for each in client.records) == ["error"] + 5 * ["ok"]
    assert max(map(len, gate.batches)) > 1


@pytest.mark.parametrize("model", [lambda x: x[:-1], lambda x: x.astype(str), lambda x: None, lambda x: np.float32(1)])
def test_a_model_that_breaks_its_promise_is_said_to_fail(model: Any) -> None:
    client = Client([function(model)])
    answer = run(lambda: client.infer(request([[1.0]])))
    assert (answer.status, list(answer.json)) == (500, ["error"])


def test_a_full_queue_refuses_at_once_and_says_when_to_come_again() -> None:
    gate = Gate()
    client = Client([function(gate)], serve.ServeSettings(max_queue=3))

    async def use() -> None:
        calls = [asyncio.create_task(client.infer(request([[1.0]])))]
        await until(lambda: gate.batches)
        calls += [asyncio.create_task(client.infer(request([[1.0]]))) for _ in range(3)]
        await until(lambda: client.app.deployments["echo"].under_way == 4)
        refused = await client.infer(request([[1.0]]))
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        gate.open.set()
        assert [each.status for each in await asyncio.gather(*calls)] == [200] * 4

    run(use)
    assert [each.status for each in client.records].count("refused") == 1


def test_a_deadline_that_passes_in_the_queue_keeps_the_work_from_running() -> None:
    gate = Gate()
    client = Client([function(gate)])

    async def use() -> None:
        first = asyncio.create_task(client.infer(request([[1.0]])))
        await until(lambda: gate.batches)
        late = await client.infer(request([[2.0]], parameters={"timeout": 20_000}))
        assert late.status == 504
        gate.open.set()
        assert (await first).status == 200
        await until(lambda: len(client.records) == 2)

    run(use)
    assert len(gate.batches) == 1
    assert sorted(each.status for each in client.records) == ["expired", "ok"]


def test_work_that_timed_out_keeps_its_slot_until_it_is_done() -> None:
    gate = Gate()
    client = Client([function(gate)])

    async def use() -> None:
        assert (await client.infer(request([[1.0]]), {"gatewise-timeout-ms": "20"})).status == 504
        assert client.app.deployments["echo"].under_way == 1
        second = asyncio.create_task(client.infer(request([[2.0]])))
        await asyncio.sleep(0.05)
        assert len(gate.batches) == 1
        gate.open.set()
        assert (await second).status == 200

    run(use)
    assert client.records[0].status == "expired"
    assert client.records[0].compute_s > 0


def test_a_wait_beyond_the_deadline_is_refused_before_the_body_is_read() -> None:
    gate = Gate()
    client = Client([function(gate)], serve.ServeSettings(max_batch=1, max_queue_s=1000))
    executor = client.app.deployments["echo"].choose().executor

    async def use() -> None:
        calls = [asyncio.create_task(client.infer(request([[1.0]]))) for _ in range(5)]
        await until(lambda: gate.batches)
        executor._cost.add(1, 0.5)
        refused = await client.infer(b"not even JSON", {"gatewise-timeout-ms": "1500"})
        assert (refused.status, refused.headers["retry-after"]) == (503, "3")
        assert (await client.infer(b"not even JSON", {"gatewise-timeout-ms": "9000"})).status == 400
        gate.open.set()
        await asyncio.gather(*calls)

    run(use)


def test_a_quota_is_each_callers_own() -> None:
    settings = serve.ServeSettings(quota_per_s=0.001, quota_burst=2, caller_header="X-Caller")
    client = Client([serve.echo()], settings)

    async def use() -> list[int]:
        return [(await client.infer(request([[1.0]]), {"x-caller": name})).status for name in "aaab"]

    assert run(use) == [200, 200, 429, 200]
    assert client.records[2].reason is not None
    assert client.records[2].reason.startswith("quota: ")


@given(st.lists(st.floats(0, 5), max_size=60), st.floats(0.1, 10), st.integers(1, 5))
def test_a_quota_never_grants_more_than_it_says(gaps: list[float], per_s: float, burst: int) -> None:
    quota, now, granted = Quota(per_s, burst), 0.0, []
    for gap in gaps:
        now += gap
        retry_s = quota.take("one", now)
        if not retry_s:
            granted.append(now)
        else:
            assert Quota.take(quota, "other", now) == 0 or retry_s <= 1 / per_s + 1e-6
    for index, start in enumerate(granted):
        for end in range(index, len(granted)):
            assert end - index + 1 <= burst + per_s * (granted[end] - start) + 1e-6


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(1e-4, 1.0)), min_size=1, max_size=20))
def test_an_expected_wait_lies_between_what_was_seen(batches: list[tuple[int, float]]) -> None:
    cost = Cost()
    for rows, seconds in batches:
        cost.add(rows, seconds)
    per_row = [seconds / rows for rows, seconds in batches]
    for rows in (1, 7, 64):
        assert 0 < cost.batch_s(rows) <= max(max(per_row) * rows, *(seconds for _, seconds in batches)) * 2.0001
    assert cost.wait_s(64, 8) >= cost.wait_s(8, 8)


def test_settings_that_cannot_be_are_refused() -> None:
    for wrong in ({"max_batch": 0}, {"deadline_s": float("nan")}, {"features_share": 2.0}, {"max_wait_s": -1.0}):
        with pytest.raises(GatewiseError):
            serve.ServeSettings(**wrong)


def test_callers_that_were_answered_together_share_the_next_batch_too() -> None:
    """Else they fall into two groups that take turns with half batches, at nearly the price of whole ones."""
    sizes: list[int] = []

    def call(x: np.ndarray) -> np.ndarray:
        sizes.append(len(x))
        time.sleep(0.02)  # whatever the rows
        return x

    client = Client([function(call)], serve.ServeSettings(max_batch=8, max_wait_s=0.5))

    async def caller() -> None:
        for _ in range(10):
            assert (await client.infer(request([[1.0]]))).status == 200

    async def use() -> None:
        await asyncio.gather(*(caller() for _ in range(8)))

    run(use)
    assert sum(sizes) == 80
    assert sizes.count(8) >= 7


def test_a_wait_in_vain_is_not_repeated_for_callers_that_left() -> None:
    client = Client([function(lambda x: x)], serve.ServeSettings(max_wait_s=0.5))

    async def use() -> None:
        await asyncio.gather(*(client.infer(request([[1.0]])) for _ in range(8)))
        for _ in range(20):
            await client.infer(request([[1.0]]))

    run(use)
    assert [each.batch_rows for each in client.records[-19:]] == [1] * 19


@given(
    fixed=st.floats(0, 1),
    row=st.floats(1e-4, 1),
    sizes=st.lists(st.integers(1, 64), min_size=2, max_size=2, unique_by=int.bit_length),
)
def test_the_fixed_part_of_a_batch_is_found(fixed: float, row: float, sizes: list[int]) -> None:
    cost = Cost()
    for size in sizes:
        for _ in range(3):
            cost.add(size, fixed + row * size)
    assert cost.fixed_s() == pytest.approx(fixed, rel=1e-6, abs=1e-6 * row)


def test_records_are_made_after_the_answer_and_none_is_left() -> None:
    found: list[Record] = []
    app = serve.app([function(lambda x: x)], watch=found.append)
    recorder = app.recorder
    ran: list[int] = []

    async def use() -> None:
        for number in range(20):
            recorder.later(lambda number=number: ran.append(number))
        assert ran == []
        await until(lambda: len(ran) == 20)
        recorder.later(lambda: ran.append(20))

    run(use)
    recorder.flush()
    assert ran == list(range(21))


def test_costs_may_be_asked_for_while_another_thread_learns_them() -> None:
    asked = threading.Event()

    class Many(dict[int, tuple[float, float]]):
        """A thread that is in the middle of reading all costs."""

        def __iter__(self) -> Iterator[int]:
            for at, key in enumerate(super().__iter__()):
                if at == 1:
                    cost.add(4000, 1.0)  # a size not seen before, as the executor's thread would add it meanwhile
                    asked.set()
                yield key

    cost = Cost()
    for rows in (1, 2, 4):
        cost.add(rows, 0.01)
    cost._known = Many(cost._known)
    assert cost.batch_s(3) > 0.0
    assert asked.is_set()
    assert cost.batch_s(4000) == pytest.approx(1.0)
