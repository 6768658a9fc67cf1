"""What a version costs: shares of the machine's time that add up to the meter, to the nanosecond."""

import random
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.core import GatewiseError
from gatewise.monitor import Record, Role, Status
from gatewise.monitor._cost import Bill, Idle, Machine, Meter, apportion
from gatewise.monitor._cost_json import bill_json

HOUR_NS = 3600 * 10**9


def record(**changed: Any) -> Record:
    plain = {"request": "r", "at_ns": 0, "model": "m", "version": "v1", "digest": "d", "role": "live"}
    return Record(**(plain | changed))


def billed(records: list[Record], machine: Machine, window: tuple[int, int] = (0, 10**9)) -> Bill:
    meter = Meter(machine, start_ns=window[0], end_ns=window[1])
    for each in records:
        meter.add(each)
    return meter.bill()


def total(bill: Bill) -> int:
    return sum(share.total_ns for share in bill.shares) + bill.unassigned_ns


records = st.builds(
    record,
    at_ns=st.integers(-(10**9), 2 * 10**9),
    version=st.sampled_from(["v1", "v2", "v3"]),
    role=st.sampled_from(get_args(Role)),
    status=st.sampled_from(get_args(Status)),
    queue_s=st.floats(0, 1),
    compute_s=st.floats(0, 0.7),
    beside_s=st.none() | st.floats(0, 0.3),
    rows=st.integers(1, 9),
    batch_rows=st.integers(1, 9),
)
machines = st.builds(
    Machine,
    cores=st.integers(1, 4),
    threads=st.dictionaries(st.sampled_from(["v1", "m/v2"]), st.integers(1, 5)),
    idle=st.sampled_from(get_args(Idle)),
)


class TestTheMeter:
    """The laws of a bill."""

    @given(st.lists(records, max_size=30), machines)
    def test_the_shares_add_up_to_the_meter_and_none_is_negative(self, found: list[Record], machine: Machine) -> None:
        bill = billed(found, machine)
        assert total(bill) == bill.meter_ns == machine.cores * 10**9
        assert (
            min([bill.unassigned_ns, *(part for share in bill.shares for part in (share.idle_ns, *busy(share)))]) >= 0
        )

    @given(st.lists(records, max_size=30), machines, st.randoms(use_true_random=False))
    def test_the_order_of_the_records_does_not_matter(
        self, found: list[Record], machine: Machine, luck: random.Random
    ) -> None:
        shuffled = found.copy()
        luck.shuffle(shuffled)
        assert billed(found, machine) == billed(shuffled, machine)

    @given(st.lists(records, max_size=30), st.integers(1, 10**9 - 1), st.integers(1, 4))
    def test_two_windows_side_by_side_cost_what_the_whole_one_costs(
        self, found: list[Record], cut: int, cores: int
    ) -> None:
        machine = Machine(cores=40 * cores, idle="apart")  # enough for whatever is claimed
        first, second = billed(found, machine, (0, cut)), billed(found, machine, (cut, 10**9))
        whole = billed(found, machine)
        assert first.meter_ns + second.meter_ns == whole.meter_ns
        # Each record loses less than a nanosecond to rounding in each window.
        assert abs(first.claimed_ns + second.claimed_ns - whole.claimed_ns) <= len(found)

    @given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(1, 10**8), st.integers(1, 3))
    def test_a_batch_costs_its_computation_however_many_requests_share_it(
        self, rows: list[int], compute_ns: int, threads: int
    ) -> None:
        batch = [record(rows=each, batch_rows=sum(rows), compute_s=compute_ns / 1e9) for each in rows]
        share = billed(batch, Machine(cores=4, threads={"v1": threads})).shares[0]
        assert compute_ns * threads - len(rows) < share.live_ns <= compute_ns * threads

    @given(st.integers(0, 10**18), st.lists(st.integers(0, 10**12), min_size=1).filter(sum))
    def test_parts_add_up_and_are_within_one_of_their_share(self, whole: int, weights: list[int]) -> None:
        parts = apportion(whole, weights)
        assert sum(parts) == whole
        assert all(
            abs(part * sum(weights) - whole * weight) < sum(weights)
            for part, weight in zip(parts, weights, strict=True)
        )


def busy(share: Any) -> tuple[int, ...]:
    return share.live_ns, share.canary_ns, share.shadow_ns, share.wasted_ns


class TestWhoPays:
    """Who is charged with what."""

    def test_shadow_work_is_the_new_versions_and_shown_apart(self) -> None:
        bill = billed(
            [record(compute_s=0.1), record(version="v2", role="shadow", compute_s=0.2)], Machine(cores=2, idle="apart")
        )
        old, new = bill.shares
        assert busy(old) == (100_000_000, 0, 0, 0)
        assert busy(new) == (0, 0, 200_000_000, 0)
        assert (new.answers, new.shadow_runs) == (0, 1)

    def test_work_without_an_answer_is_paid_for_and_answers_nothing(self) -> None:
        lost = [record(status="error", compute_s=0.1), record(status="refused"), record(status="expired", queue_s=0.5)]
        share = billed([record(compute_s=0.1), *lost], Machine(cores=1)).shares[0]
        assert (share.live_ns, share.wasted_ns) == (100_000_000, 100_000_000)
        assert (share.answers, share.unanswered) == (1, 3)

    def test_waiting_costs_nothing(self) -> None:
        assert billed([record(queue_s=0.9)], Machine(cores=1)).shares[0].busy_ns == 0

    @pytest.mark.parametrize(
        ("idle", "expected"),
        [
            ("reserved", (1_900_000_000, 700_000_000, 1_000_000_000)),
            ("use", (900_000_000, 2_700_000_000, 0)),
            ("apart", (0, 0, 3_600_000_000)),
        ],
    )
    def test_the_rule_says_who_pays_for_idle_time(self, idle: Idle, expected: tuple[int, ...]) -> None:
        machine = Machine(cores=4, threads={"v1": 2, "v2": 1}, idle=idle)
        # v1 computes 50 ms on 2 threads, v2 300 ms on 1; a fourth core is nobody's.
        bill = billed([record(compute_s=0.05), record(version="v2", compute_s=0.3)], machine)
        assert (*(share.idle_ns for share in bill.shares), bill.unassigned_ns) == expected

    def test_work_at_the_edge_of_the_window_counts_by_its_part_inside(self) -> None:
        across = [record(at_ns=-100_000_000, compute_s=0.3), record(at_ns=900_000_000, compute_s=0.3)]
        share = billed(across, Machine(cores=1)).shares[0]
        assert share.live_ns == 200_000_000 + 100_000_000
        assert share.answers == 1  # the first one arrived before the window

    def test_more_threads_than_cores_is_said_and_scaled_down(self) -> None:
        bill = billed([record(compute_s=1), record(version="v2", compute_s=1)], Machine(cores=1))
        assert bill.oversubscribed
        assert [share.live_ns for share in bill.shares] == [500_000_000] * 2
        assert bill.claimed_ns == 2 * bill.meter_ns

    def test_threads_are_looked_up_by_model_and_version_first(self) -> None:
        machine = Machine(cores=8, threads={"v1": 2, "m/v1": 3})
        assert (machine.threads_of(("m", "v1")), machine.threads_of(("other", "v1"))) == (3, 2)


class TestMoney:
    """Amounts rest on the measured utilisation."""

    def test_an_hour_at_a_price_comes_to_that_price(self) -> None:
        machine = Machine(cores=2, price_per_hour=0.5)
        found = [record(at_ns=index * 10**9, compute_s=0.5) for index in range(3600)]
        said = bill_json(billed(found, machine, (0, HOUR_NS)))
        assert said["utilisation"] == pytest.approx(0.25)
        assert said["amounts"]["per_request"] == pytest.approx(0.5 / 3600)
        assert said["amounts"]["per_million"] == pytest.approx(1e6 * 0.5 / 3600)
        assert said["amounts"]["per_month"] == pytest.approx(0.5 * 730)
        # One thread of two is reserved: v1 pays for half of the machine, half of that it computes.
        assert said["versions"][0]["share"] == pytest.approx(0.5)
        assert said["versions"][0]["utilisation"] == pytest.approx(0.5)
        assert said["versions"][0]["amounts"]["per_request"] == pytest.approx(0.25 / 3600)

    def test_without_a_price_there_is_machine_time_and_no_money(self) -> None:
        amounts = bill_json(billed([record(compute_s=0.5)], Machine(cores=1)))["amounts"]
        assert amounts["core_s_per_request"] == pytest.approx(1.0)
        assert amounts["per_request"] is amounts["per_million"] is amounts["per_month"] is None

    def test_a_version_that_answered_nobody_has_no_cost_per_request(self) -> None:
        said = bill_json(billed([record(role="shadow", compute_s=0.5)], Machine(cores=1, price_per_hour=1.0)))
        assert said["versions"][0]["amounts"]["per_request"] is None
        assert said["versions"][0]["busy_core_s_per_run"] == pytest.approx(0.5)
        assert said["shadow_share"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"cores": 0}, "cores must be a whole number"),
        ({"cores": True}, "cores must be"),
        ({"cores": 1, "threads": {"v1": 0}}, "threads of v1"),
        ({"cores": 1, "price_per_hour": float("nan")}, "price_per_hour must be above 0"),
        ({"cores": 1, "idle": "apartt"}, "did you mean 'apart'"),
    ],
)
def test_an_impossible_machine_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(GatewiseError, match=says):
        Machine(**wrong)


def test_a_window_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(GatewiseError, match="window that ends after"):
        Meter(Machine(cores=1), start_ns=5, end_ns=5)
