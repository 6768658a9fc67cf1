"""Every figure of the published tables to the digit it is known with: the oracle is here, the package has the data."""

import itertools
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gatewise import claims

WORDS = {"established", "not established", "cannot tell"}
GATED, UNGATED = ("GEGLU", "SwiGLU", "ReGLU", "Bilinear"), ("ReLU", "GELU", "Swish")
SHAZEER, NARANG, MISH, SPEEDRUN, MARIN, GELU = (
    "shazeer-2020",
    "narang-2021",
    "mish-2019",
    "modded-nanogpt",
    "marin-2026",
    "gelu-2016",
)
EARLY, LATE = "65,536 steps", "524,288 steps"
SURVIVORS = {
    *((gated, ungated) for gated in GATED for ungated in UNGATED),
    *((gated, "GLU") for gated in GATED),
    ("GEGLU", "Bilinear"),
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return claims.published()


def one(document: dict[str, Any], source: str, quantity: str) -> dict[str, Any]:
    found = [each for each in document["results"] if (each["source"], each["quantity"]) == (source, quantity)]
    assert len(found) == 1, quantity
    return found[0]


# source, quantity, the figure as it is printed in the facts, the word
FIGURES = [
    (SHAZEER, f"pairs that survive Holm, {EARLY}", "17", "established"),
    (SHAZEER, f"each of {', '.join(GATED)} beats each of {', '.join(UNGATED)}, {EARLY}", "12", "established"),
    (SHAZEER, f"ReLU vs GELU, {EARLY}: p", ".0075", "not established"),
    (SHAZEER, f"ReLU vs GELU, {EARLY}: p after Holm", ".075", "not established"),
    (SHAZEER, f"GEGLU vs SwiGLU, {EARLY}: p", ".73", "not established"),
    (SHAZEER, f"ReLU vs GELU, {EARLY}: difference", "0.014", "not established"),
    (SHAZEER, f"ReLU vs GELU, {LATE}: difference", "-0.002", "cannot tell"),
    (SHAZEER, f"ReLU vs GELU: the order is reversed, {EARLY} against {LATE}", "-0.002", "cannot tell"),
    (NARANG, f"Spearman, early loss against {SHAZEER}/{EARLY}", ".95", "established"),
    (NARANG, f"Kendall, early loss against {SHAZEER}/{EARLY}", ".86", "established"),
    (NARANG, f"Spearman, final loss against {SHAZEER}/{EARLY}", ".91", "established"),
    (NARANG, f"Kendall, final loss against {SHAZEER}/{EARLY}", ".76", "established"),
    (NARANG, f"Spearman, final loss against {SHAZEER}/{LATE}", ".95", "established"),
    (NARANG, f"Kendall, final loss against {SHAZEER}/{LATE}", ".84", "established"),
    (MISH, "Mish vs Swish, SqueezeNet, CIFAR-10: p", ".188", "not established"),
    (MISH, "Mish vs Swish, SqueezeNet, CIFAR-10: Cohen's d", ".395", "not established"),
    (MISH, "Mish vs GELU, SqueezeNet, CIFAR-10: p", ".397", "not established"),
    (MISH, "Mish vs GELU, SqueezeNet, CIFAR-10: Cohen's d", ".252", "not established"),
    (MISH, "Mish vs ReLU, SqueezeNet, CIFAR-10: p", "1.4e-6", "established"),
    (MISH, "Mish vs ReLU, SqueezeNet, CIFAR-10: Cohen's d", "1.643", "established"),
    (MISH, "GELU vs ReLU, SqueezeNet, CIFAR-10: Cohen's d", "1.34", "established"),
    (SPEEDRUN, "record, validation loss: mean below 3.28: p", "6.4e-5", "established"),
    (SPEEDRUN, "runs an arm that resolve 0.001, unpaired", "57", "established"),
    (SPEEDRUN, "runs an arm that resolve 0.001, paired at a correlation of 0.8", "12", "established"),
    (SPEEDRUN, "runs an arm that resolve 0.04, unpaired", "2", "established"),
    (MARIN, "effective speed-up of GEGLU over SwiGLU, width 512", "1.0170", "cannot tell"),
    (MARIN, "effective speed-up of GEGLU over SwiGLU, width 768", "1.0080", "cannot tell"),
    (GELU, "GELU vs ReLU, CIFAR-10: gap in test items", "27", "cannot tell"),
    (GELU, "GELU vs ELU, CIFAR-10: gap in test items", "52", "cannot tell"),
    (GELU, "GELU vs ReLU, Twitter POS: gap in test items", "7", "cannot tell"),
    (GELU, "test items that a gap of 7 implies, Twitter POS", "7152", "established"),
    ("robustness", "ReLU vs SiLU, Xie 2020: difference", "-9.3", "cannot tell"),
    ("robustness", "ReLU vs GELU, Bai 2021: difference", "-9.10", "cannot tell"),
]


def prints_as(value: float, printed: str) -> bool:
    """Whether a value, rounded to the digits of `printed`, is that figure."""
    mantissa, _, exponent = printed.partition("e")
    digits = len(mantissa.partition(".")[2])
    if exponent:
        return float(f"{value:.{digits}e}") == float(printed)
    return f"{value:.{digits}f}" == f"{float(printed):.{digits}f}"


@pytest.mark.parametrize(("source", "quantity", "printed", "word"), FIGURES)
def test_figure_to_the_printed_digit(
    document: dict[str, Any], source: str, quantity: str, printed: str, word: str
) -> None:
    found = one(document, source, quantity)
    assert prints_as(found["value"], printed), found["value"]
    assert found["evidence"] == word


def test_the_printed_digit_is_what_is_compared() -> None:
    assert prints_as(0.0074534, ".0075")
    assert not prints_as(0.0074534, ".0074")
    assert prints_as(6.437e-5, "6.4e-5")
    assert not prints_as(6.437e-5, "6.7e-5")


def test_which_pairs_of_shazeer_survive(document: dict[str, Any]) -> None:
    survivors = one(document, SHAZEER, f"pairs that survive Holm, {EARLY}")["detail"]["survivors"]
    assert {(each["better"], each["than"]) for each in survivors} == SURVIVORS
    words = {
        frozenset(each["detail"]["pair"]): each["evidence"]
        for each in document["results"]
        if each["source"] == SHAZEER and each["table"] == EARLY and each["quantity"].endswith("p after Holm")
    }
    arms = {*GATED, *UNGATED, "GLU"}
    assert set(words) == {frozenset(pair) for pair in itertools.combinations(arms, 2)}
    assert {pair for pair, word in words.items() if word == "established"} == {frozenset(pair) for pair in SURVIVORS}


def test_rounding_takes_none_of_the_seventeen_away(document: dict[str, Any]) -> None:
    counted = one(document, SHAZEER, f"pairs that survive Holm, {EARLY}")["detail"]["whatever_the_rounding"]
    assert counted == [17, 20]


def test_the_order_of_relu_and_gelu_flips(document: dict[str, Any]) -> None:
    flipped = one(document, SHAZEER, f"ReLU vs GELU: the order is reversed, {EARLY} against {LATE}")
    assert flipped["detail"]["differences"] == [0.014, -0.002]
    assert flipped["reason"] == "n = 1"


@pytest.mark.parametrize("quantity", ["width 512", "width 768"])
def test_no_band_separates_marin_from_one(document: dict[str, Any], quantity: str) -> None:
    found = one(document, MARIN, f"effective speed-up of GEGLU over SwiGLU, {quantity}")
    bands = found["detail"]["bands"]
    assert [band["sd"] for band in bands] == [0.00191, 0.004, 0.010]
    assert found["interval"] == bands[0]["exact"]
    for band in bands:
        for way in ("exact", "propagated", "simulated"):
            low, high = band[way]
            assert low < 1 < found["value"] < high
    assert "modded-nanogpt" in found["reason"]
    assert "n = 1" in found["reason"]


def test_the_published_p_values_lie_in_what_rounding_leaves(document: dict[str, Any]) -> None:
    found = [each["detail"] for each in document["results"] if "published_p" in each["detail"]]
    assert {each["published_p"] for each in found} == {6.7e-5, 0.1973, 0.4003}
    assert all(each["published_p_within_rounding"] for each in found)


def test_a_column_without_uncertainty_ranks_nothing(document: dict[str, Any]) -> None:
    rates = [each for each in document["results"] if (each["source"], each["table"]) == (NARANG, "step rate")]
    assert len(rates) == 29
    assert {each["evidence"] for each in rates} == {"cannot tell"}


def test_twitter_counts_follow_from_the_printed_percentages(document: dict[str, Any]) -> None:
    found = one(document, GELU, "GELU vs ReLU, Twitter POS: gap in test items")
    assert found["detail"]["items_counted"] == [[899], [906]]
    sizes = one(document, GELU, "test items that a gap of 7 implies, Twitter POS")
    assert sizes["interval"] == [6430, 7722]
    assert "tokens of the 500 test tweets" in sizes["reason"]


def test_every_result_says_what_it_supports_and_why(document: dict[str, Any]) -> None:
    assert document["schema"] == "gatewise.published/1"
    assert {each["source"] for each in document["results"]} == {each["source"] for each in document["tables"]}
    for each in document["results"]:
        assert {"source", "quantity", "value", "evidence", "unit", "reason", "detail"} <= set(each)
        assert each["evidence"] in WORDS
        assert each["reason"].strip()
        assert each["value"] is not None or each["evidence"] == "cannot tell"
    names = [(each["source"], each["quantity"]) for each in document["results"]]
    assert len(set(names)) == len(names)
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_nothing_single_or_without_dispersion_has_a_p_value(document: dict[str, Any]) -> None:
    spreads = {
        (source["source"], table["name"], arm["name"]): (arm["sd"], arm["n"], table["statistic"])
        for source in document["tables"]
        for table in source["tables"]
        for arm in table["arms"]
    }
    untestable = 0
    for each in document["results"]:
        pair = each["detail"].get("pair", [])
        known = [spreads.get((each["source"], each["table"], name)) for name in pair]
        if any(arm is not None and (arm[0] is None or arm[1] is None or arm[1] < 2) for arm in known):
            untestable += 1
            assert each["evidence"] == "cannot tell"
            assert "p" not in each["detail"]
            assert "interval" not in each
            assert not each["quantity"].endswith((": p", "p after Holm"))
    assert untestable > 100


def test_the_data_hold_no_result() -> None:
    folder = Path(claims.__file__).parent / "_published" / "tables"
    texts = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.toml")}
    assert len(texts) == 7
    for text in texts.values():
        keys = {key for table in tomllib.loads(text).get("table", []) for key in table}
        assert not keys & {"evidence", "p", "value", "survivors", "result"}


def test_no_torch_is_imported() -> None:
    code = "import sys; from gatewise import claims; claims.published(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], timeout=120, check=True)
