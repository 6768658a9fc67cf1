"""The judge: intervals against oracles, verdict rules, refusals, and laws that hold for any numbers."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gatewise.core import GatewiseError, Method, Rule, compare

times = st.floats(min_value=1e-6, max_value=1e3)
samples = st.lists(st.tuples(times, times), min_size=1, max_size=60)


def noisy(rng: random.Random, n: int, ratio: float, sd: float = 0.01) -> tuple[list[float], list[float]]:
    base = [rng.lognormvariate(0, 0.3) for _ in range(n)]
    return base, [value * ratio * rng.lognormvariate(0, sd) for value in base]


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.1, "worse"), (0.9, "better"), (1.0, "equivalent"), (1.005, "equivalent")]
)
def test_a_clear_effect_gets_its_verdict(ratio: float, verdict: str) -> None:
    base, arm = noisy(random.Random(1), 60, ratio)
    found = compare(base, arm, margin=0.02)
    assert found.verdict == verdict
    assert found.reason is None
    assert found.interval is not None
    assert found.interval[0] <= ratio <= found.interval[1]


def test_higher_is_better_mirrors_lower_is_better() -> None:
    base, arm = noisy(random.Random(2), 60, 1.1)
    assert compare(base, arm, direction="higher").verdict == "better"


@given(samples)
def test_swapping_the_arms_mirrors_the_verdict(pairs: list[tuple[float, float]]) -> None:
    base, arm = [p[0] for p in pairs], [p[1] for p in pairs]
    mirrored = {"better": "worse", "worse": "better"}
    there, back = compare(base, arm), compare(arm, base)
    assert back.verdict == mirrored.get(there.verdict, there.verdict)


@given(samples, st.floats(min_value=1e-3, max_value=1e3))
def test_the_unit_of_a_ratio_does_not_matter(pairs: list[tuple[float, float]], unit: float) -> None:
    base, arm = [p[0] for p in pairs], [p[1] for p in pairs]
    one = compare(base, arm)
    other = compare([v * unit for v in base], [v * unit for v in arm])
    assert one.estimate == pytest.approx(other.estimate, rel=1e-9)


@given(samples)
def test_a_verdict_always_has_an_interval_and_a_refusal_never(pairs: list[tuple[float, float]]) -> None:
    found = compare([p[0] for p in pairs], [p[1] for p in pairs])
    if found.verdict == "inconclusive":
        assert found.reason
    else:
        assert found.interval is not None
        assert found.reason is None
    if found.interval is not None:
        assert found.interval[0] <= found.estimate <= found.interval[1]
        assert found.smallest_detectable is not None
        assert found.smallest_detectable >= found.margin


FAR = [sign * 1e308 for sign in (1, -1)] * 100


@pytest.mark.parametrize("method", ["median", "mean"])
@pytest.mark.parametrize("arm", [FAR, [1e308] * 200, [0.0, 1e200] * 100])
def test_values_beyond_floating_point_are_refused_in_one_line(arm: list[float], method: Method) -> None:
    with pytest.raises(GatewiseError, match=r"^the values are too far apart to be compared in floating point$"):
        compare([-value for value in arm], arm, kind="difference", method=method)
    with pytest.raises(GatewiseError, match="too far apart"):
        compare([-value for value in arm], arm, False, kind="difference")


@pytest.mark.parametrize("method", ["median", "mean"])
def test_the_farthest_values_that_are_judged_give_numbers(method: Method) -> None:
    found = compare([0.0] * 200, [sign * 1e150 for sign in (1, -1)] * 100, kind="difference", method=method)
    assert found.interval is not None
    assert all(math.isfinite(value) for value in (found.estimate or 0.0, *found.interval))


def test_unpaired_values_of_a_tiny_unit_are_judged_like_others() -> None:
    one = compare([1.0, 2.0, 3.0], [4.0, 6.0, 7.0], False, kind="difference", margin=0.0)
    tiny = compare([1e-120, 2e-120, 3e-120], [4e-120, 6e-120, 7e-120], False, kind="difference", margin=0.0)
    assert one.interval is not None
    assert tiny.interval is not None
    assert tiny.interval[0] * 1e120 == pytest.approx(one.interval[0])


def test_the_paired_t_is_scipys() -> None:
    rng = random.Random(3)
    base = [rng.gauss(2.0, 0.1) for _ in range(7)]
    arm = [value + rng.gauss(0.02, 0.01) for value in base]
    found = compare(base, arm, kind="difference", margin=0.001)
    low, high = stats.ttest_rel(arm, base).confidence_interval(0.95)
    assert found.interval == pytest.approx((low, high), rel=1e-9)


def test_welchs_t_is_scipys() -> None:
    rng = random.Random(4)
    base, arm = [rng.gauss(2, 0.1) for _ in range(5)], [rng.gauss(1.9, 0.3) for _ in range(9)]
    found = compare(base, arm, paired=False, kind="difference", margin=0.0)
    low, high = stats.ttest_ind(arm, base, equal_var=False).confidence_interval(0.95)
    assert found.interval == pytest.approx((low, high), rel=1e-9)


@pytest.mark.parametrize(
    ("base", "arm", "kind", "words"),
    [
        ([1.0], [1.1], "difference", "n = 1"),
        ([1.0], [1.1], "ratio", "n = 1"),
        ([], [], "ratio", "no pair"),
        ([], [], "difference", "no pair"),
        ([1.0] * 9, [1.1] * 9, "ratio", "identical"),
        ([1.0] * 9, [1.1] * 9, "difference", "identical"),
        ([1.0, 2.0], [float("nan"), 2.0], "difference", "1 values are not finite"),
        ([1.0, 2.0, 3.0], [1.1, 2.3, 3.1], "ratio", "at least 7"),
    ],
)
def test_refusals_say_why_and_show_no_interval(base: list[float], arm: list[float], kind: str, words: str) -> None:
    found = compare(base, arm, kind=kind)  # pyright: ignore[reportArgumentType]
    assert found.verdict == "inconclusive"
    assert found.interval is None
    assert words in str(found.reason)


def test_a_margin_of_zero_asks_for_a_direction_only() -> None:
    base, arm = noisy(random.Random(5), 200, 1.0)
    found = compare(base, arm, margin=0.0)
    assert found.verdict == "inconclusive"
    assert "direction" in str(found.reason)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "quotient"}, "kind must be"),
        ({"direction": "up"}, "direction must be"),
        ({"margin": -0.1}, "margin must be"),
        ({"margin": math.nan}, "margin must be"),
        ({"alpha": 0.0}, "alpha must"),
        ({"method": "mode"}, "method must"),
        ({"margin": "0.02"}, "margin must be a number"),
        ({"margin": True}, "margin must be a number"),
        ({"alpha": 0.9999}, "alpha must"),
        ({"alpha": None}, "alpha must"),
        ({"paired": "no"}, "paired must"),
    ],
)
def test_impossible_rules_are_refused(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(GatewiseError, match=words):
        compare([1.0, 2.0], [1.0, 2.0], **arguments)  # pyright: ignore[reportArgumentType]


def test_bad_values_are_refused_in_one_line() -> None:
    with pytest.raises(GatewiseError, match="equal lengths, not 2 and 1"):
        compare([1.0, 2.0], [1.0])
    with pytest.raises(GatewiseError, match="above 0"):
        compare([1.0, -2.0], [1.0, 2.0])


def test_limits_are_symmetric_on_the_log_scale() -> None:
    rule = Rule(margin=0.02)
    assert rule.shown(rule.bound) == pytest.approx(1.02)
    assert rule.shown(-rule.bound) == pytest.approx(1 / 1.02)


@pytest.mark.parametrize(
    "values", ["abc", b"abc", {1.0, 2.0}, {1.0: 2.0}, 3.0, None, [None, 1.0], [1j, 2.0], [[1.0], 2.0]]
)
def test_what_is_no_list_of_numbers_is_refused(values: object) -> None:
    with pytest.raises(GatewiseError):
        compare(values, values, kind="difference")  # pyright: ignore[reportArgumentType]


def test_absurdly_large_values_are_an_answer_or_one_clear_line() -> None:
    tiny, huge = [5e-324, 1e-323, 2e-323] * 3, [1e308, 9e307, 8e307] * 3
    assert compare(tiny, huge, kind="ratio").verdict == "inconclusive"
    with pytest.raises(GatewiseError, match="too far apart"):
        compare(huge, [-value for value in huge], paired=False, kind="difference")


def test_arrays_and_numpy_scalars_are_numbers() -> None:
    import numpy as np

    base = np.linspace(1.0, 1.1, 12, dtype=np.float32)
    assert compare(base, base * np.float32(1.2), kind="ratio").verdict in ("worse", "inconclusive")
