"""Paired binary items: what is chosen, what is answered, what is refused."""

import pytest

from gatewise.core import Evidence, GatewiseError, Rule, compare, holm, item_method

RULE = Rule(kind="difference", direction="higher", margin=0.0)


def answers(gained: int, lost: int, both: int, neither: int = 0) -> tuple[list[float], list[float]]:
    base = [0.0] * gained + [1.0] * lost + [1.0] * both + [0.0] * neither
    arm = [1.0] * gained + [0.0] * lost + [1.0] * both + [0.0] * neither
    return base, arm


def test_right_and_wrong_answers_are_judged_as_pairs_by_default() -> None:
    found = compare(*answers(20, 3, 100), kind="difference", direction="higher", margin=0.0)
    assert found.verdict == "better"
    assert "paired score" in found.method
    assert found.estimate == pytest.approx(17 / 123)


def test_all_equal_answers_get_an_honest_interval_and_not_a_zero_spread() -> None:
    found = compare(*answers(0, 0, 300, 60), kind="difference", margin=0.02)
    assert found.verdict == "equivalent"
    assert found.interval is not None
    # None of n: the exact binomial limit of each share.
    assert found.interval == pytest.approx((0.025 ** (1 / 360) - 1, 1 - 0.025 ** (1 / 360)))
    few = compare(*answers(0, 0, 20), kind="difference", margin=0.02)
    assert few.verdict == "inconclusive"
    assert few.interval is not None
    assert few.interval[1] > 0.1


def test_two_accuracies_that_agree_on_every_seed_stay_refused() -> None:
    found = compare([0.91, 0.93, 0.9], [0.91, 0.93, 0.9], kind="difference")
    assert "identical" in str(found.reason)


@pytest.mark.parametrize(
    ("baseline", "arm", "method"),
    [
        ([0, 1, 1], [1, 1, 0], "paired"),
        ([0.0, 1.0], [0.0, 0.0], "paired"),
        ([0.0, 0.5], [0.0, 0.5], "mean"),
        ([3, 4], [4, 4], "mean"),  # counts that differ by 1 are no answers
        ([], [], "mean"),
    ],
)
def test_only_zeros_and_ones_are_answers(baseline: list[float], arm: list[float], method: str) -> None:
    assert item_method(baseline, arm) == method


def test_a_single_item_is_refused() -> None:
    found = compare([0.0], [1.0], kind="difference")
    assert found.interval is None
    assert "n = 1" in str(found.reason)


def test_the_other_methods_can_still_be_asked_for() -> None:
    pair = answers(20, 3, 100)
    assert compare(*pair, kind="difference", method="mean").method == "paired t"
    assert compare(*pair, paired=False, kind="difference").method == "Welch's t"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"method": "paired", "paired": False}, "needs pairs"),
        ({"method": "paired", "kind": "ratio"}, "kind='difference'"),
    ],
)
def test_what_cannot_be_paired_items_is_one_clear_line(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(GatewiseError, match=words):
        compare([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], **{"kind": "difference", **arguments})  # pyright: ignore


def test_effects_that_are_no_answers_are_refused() -> None:
    with pytest.raises(GatewiseError, match="every effect -1, 0 or 1"):
        Evidence(effects=(0.0, 0.5), rule=RULE, method="paired").at(0.05)


def test_evidence_of_items_stands_in_a_family() -> None:
    clear = Evidence(effects=(1.0,) * 20 + (0.0,) * 100, rule=RULE, method="paired")
    nothing = Evidence(effects=(1.0, -1.0) + (0.0,) * 100, rule=RULE, method="paired")
    found = holm([nothing, clear], 0.05)
    assert [one.verdict for one in found] == ["inconclusive", "better"]
    assert found[0].alpha == 0.05


def test_more_items_narrow_the_interval() -> None:
    widths: list[float] = []
    for times in (1, 4, 16, 64):
        found = compare(*answers(3 * times, 2 * times, 45 * times), kind="difference", margin=0.0)
        assert found.interval is not None
        widths.append(found.interval[1] - found.interval[0])
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < widths[0] / 6
