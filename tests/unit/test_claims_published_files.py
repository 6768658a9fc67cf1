"""Tables of one's own: what the words follow from, mutated figures, and files that are refused in one line."""

import json
import math
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise import GatewiseError, claims

TWO = '[[table]]\nname = "t"\nbetter = "lower"\narms = [{ARMS}]\n'
A, B = '{ name = "a", mean = 1.00, sd = 0.01, n = 5 }', '{ name = "b", mean = 1.20, sd = 0.02, n = 5 }'


def run(tmp_path: Path, text: str) -> dict[str, Any]:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return claims.published(path)


def two(*arms: str, extra: str = "") -> str:
    return TWO.replace("{ARMS}", ", ".join(arms)) + extra


def figure(document: dict[str, Any], quantity: str) -> dict[str, Any]:
    return next(each for each in document["results"] if each["quantity"] == quantity)


def packaged(name: str) -> str:
    """The text of a packaged source under another name."""
    folder = files("gatewise.claims") / "_published" / "tables"
    text = next(item.read_text("utf-8") for item in folder.iterdir() if item.name.endswith(f"-{name}.toml"))
    return text.replace(f'[source]\nname = "{name}"', '[source]\nname = "mine"')


def test_only_the_own_file_is_shown(tmp_path: Path) -> None:
    document = run(tmp_path, two(A, B))
    assert {each["source"] for each in document["results"]} == {"mine"}
    assert figure(document, "a vs b, t: difference")["value"] == -0.2
    assert figure(document, "a vs b, t: difference")["evidence"] == "established"
    assert figure(document, "pairs that survive Holm, t")["value"] == 1


def test_one_sd_takes_a_survivor_away(tmp_path: Path) -> None:
    text = packaged("shazeer-2020")
    mutated = text.replace('"Bilinear", mean = 1.960, sd = 0.005', '"Bilinear", mean = 1.960, sd = 0.050')
    assert mutated != text
    counts = [figure(run(tmp_path, each), "pairs that survive Holm, 65,536 steps") for each in (text, mutated)]
    assert counts[0]["value"] == 17
    assert counts[1]["value"] < 17
    assert not any("Bilinear" in (each["better"], each["than"]) for each in counts[1]["detail"]["survivors"])
    relation = next(each for each in run(tmp_path, mutated)["results"] if each["quantity"].startswith("each of"))
    assert relation["evidence"] == "not established"
    assert relation["value"] == 9


def test_one_mean_turns_the_relation(tmp_path: Path) -> None:
    text = packaged("shazeer-2020").replace('"ReLU", mean = 1.997', '"ReLU", mean = 1.900')
    relation = next(each for each in run(tmp_path, text)["results"] if each["quantity"].startswith("each of"))
    assert relation["value"] == 8
    assert relation["evidence"] == "not established"
    assert "GEGLU vs ReLU" in relation["reason"]


def test_an_order_that_is_turned_round_does_not_agree(tmp_path: Path) -> None:
    text = packaged("narang-2021").replace(
        'name = "early loss"\nquantity = "pre-training loss after 65,536 steps"', 'name = "early loss"'
    )
    turned = text.replace(
        'unit = "nat"\nbetter = "lower"\nsteps = 65536', 'unit = "nat"\nbetter = "higher"\nsteps = 65536'
    )
    assert turned != text
    found = figure(run(tmp_path, turned), "Spearman, early loss against shazeer-2020/65,536 steps")
    assert found["value"] == pytest.approx(-0.952381, abs=1e-6)
    assert found["evidence"] == "not established"


@pytest.mark.parametrize(
    ("arms", "reason"),
    [
        (('{ name = "a", mean = 1.0, n = 1 }', '{ name = "b", mean = 2.0, n = 1 }'), "n = 1"),
        (('{ name = "a", mean = 1.0, sd = 0.1, n = 1 }', B), "n = 1 (a)"),
        (('{ name = "a", mean = 1.0, n = 5 }', B), "no dispersion"),
        (('{ name = "a", mean = 1.0 }', '{ name = "b", mean = 2.0 }'), "no dispersion"),
        (('{ name = "a", mean = 1.0, sd = 0.1, n = "not stated" }', B), "number of runs is not stated"),
    ],
)
def test_what_cannot_be_tested_says_why(tmp_path: Path, arms: tuple[str, str], reason: str) -> None:
    document = run(tmp_path, two(*arms))
    assert {each["evidence"] for each in document["results"]} == {"cannot tell"}
    assert all(reason in each["reason"] for each in document["results"])
    assert not any(
        each["quantity"].endswith((": p", "p after Holm")) or "interval" in each for each in document["results"]
    )


def test_unmatched_arms_support_nothing(tmp_path: Path) -> None:
    document = run(tmp_path, two(A, B, extra='unmatched = ["parameters"]\n'))
    assert {each["evidence"] for each in document["results"]} == {"cannot tell"}
    assert all("unmatched: parameters" in each["reason"] for each in document["results"])


def test_medians_are_not_put_to_a_t_test(tmp_path: Path) -> None:
    document = run(tmp_path, two(A, B, extra='statistic = "median"\n'))
    assert {each["evidence"] for each in document["results"]} == {"cannot tell"}


def test_a_mean_on_the_wrong_side_of_the_target(tmp_path: Path) -> None:
    arm = '{ name = "a", mean = 3.281, sd = 0.002, n = 80 }'
    found = run(tmp_path, two(arm, extra="target = 3.28\n"))["results"]
    assert {each["evidence"] for each in found} == {"not established"}
    assert found[-1]["value"] > 0.99
    single = run(tmp_path, two('{ name = "a", mean = 3.1, n = 1 }', extra="target = 3.28\n"))["results"]
    assert [(each["evidence"], each["reason"]) for each in single] == [("cannot tell", "n = 1")]


SPEEDUP = """
[[speedup]]
name = "s"
floor = 1.6
exponent = 0.1
base = { name = "a", loss = 3.80, tokens_per_second = 100, n = N }
variant = { name = "b", loss = 3.70, tokens_per_second = 100, n = N }
noise = [{ sd = SD, n = 80, from = "my own seeds" }]
"""


@pytest.mark.parametrize(
    ("number", "sd", "word"),
    [("1", "0.001", "cannot tell"), ("4", "0.001", "established"), ("4", "0.1", "not established")],
)
def test_speedup_needs_runs_and_a_band_without_one(tmp_path: Path, number: str, sd: str, word: str) -> None:
    found = run(tmp_path, SPEEDUP.replace("N", number).replace("SD", sd))["results"]
    assert [each["evidence"] for each in found] == [word]
    assert "my own seeds" in found[0]["reason"]
    low, high = found[0]["interval"]
    assert low < found[0]["value"] < high
    assert (low > 1) == (sd == "0.001")


def test_speedup_without_noise_and_with_noise_down_to_the_floor(tmp_path: Path) -> None:
    bare = SPEEDUP.replace("N", "1").partition("noise")[0]
    for text in (bare, SPEEDUP.replace("N", "4").replace("SD", "5.0")):
        found = run(tmp_path, text)["results"][0]
        assert found["evidence"] == "cannot tell"
        assert "interval" not in found
        assert json.dumps(found, allow_nan=False)


def test_percentages_that_no_count_prints_are_said(tmp_path: Path) -> None:
    text = two('{ name = "a", mean = 12.34 }', '{ name = "b", mean = 50.00 }', extra="items = 100\n")
    found = run(tmp_path, text)["results"]
    assert "no whole number of 100 items prints as the figure of a" in found[0]["reason"]
    assert found[1]["evidence"] == "not established"
    assert found[1]["value"] is None or found[1]["value"] != 100


def test_losses_are_no_shares_of_items_however_sure_their_test_is(tmp_path: Path) -> None:
    arms = '{ name = "a", mean = 1.960, sd = 0.005, n = 4 }', '{ name = "b", mean = 1.981, sd = 0.005, n = 4 }'
    tested = run(tmp_path, two(*arms))["results"]
    assert figure({"results": tested}, "a vs b, t: difference")["evidence"] == "established"
    gap = figure(run(tmp_path, two(*arms, extra="items = 100\n")), "a vs b, t: gap in test items")
    assert (gap["evidence"], gap["value"]) == ("cannot tell", None)
    assert "no whole number of 100 items prints as the figure of a and b" in gap["reason"]


def test_the_holm_p_of_two_targets_is_the_one_in_the_reason(tmp_path: Path) -> None:
    arms = '{ name = "a", mean = 3.279, sd = 0.002, n = 17 }', '{ name = "b", mean = 3.279, sd = 0.002, n = 17 }'
    results = run(tmp_path, two(*arms, extra="target = 3.28\n"))["results"]
    plain, after = (figure({"results": results}, f"a, t: mean below 3.28: {what}") for what in ("p", "p after Holm"))
    assert plain["value"] < 0.05 < after["value"] == pytest.approx(2 * plain["value"]) == plain["detail"]["p_holm"]
    assert plain["evidence"] == after["evidence"] == "not established"
    assert plain["reason"] == f"one-sided p after Holm over 2 arms {after['value']:.3g}, above 0.05"
    single = run(tmp_path, two(arms[0], extra="target = 3.28\n"))["results"]
    assert [each["quantity"].rpartition(": ")[2] for each in single] == ["difference", "p"]
    assert single[1]["reason"] == f"one-sided p {single[1]['value']:.3g}, at most 0.05"


GOOD = two(A, B)
REFUSED = {
    "unknown key in an arm": (two('{ name = "a", meen = 1 }', B), "did you mean 'mean'?"),
    "unknown key in a table": (two(A, B, extra="stepps = 3\n"), "did you mean 'steps'?"),
    "unknown section": (f"{GOOD}\n[[tabel]]\nx = 1\n", "did you mean 'table'?"),
    "negative sd": (two('{ name = "a", mean = 1.0, sd = -0.1, n = 3 }', B), "sd must be above 0, not -0.1"),
    "sd of zero": (two('{ name = "a", mean = 1.0, sd = 0.0, n = 3 }', B), "no spread was measured"),
    "n of zero": (two('{ name = "a", mean = 1.0, sd = 0.1, n = 0 }', B), "n must be at least 1, not 0"),
    "n below zero": (two('{ name = "a", mean = 1.0, sd = 0.1, n = -3 }', B), "n must be at least 1, not -3"),
    "n not whole": (two('{ name = "a", mean = 1.0, sd = 0.1, n = 2.5 }', B), "n must be a whole number, not 2.5"),
    "n is true": (two('{ name = "a", mean = 1.0, sd = 0.1, n = true }', B), "n must be a whole number"),
    "n missing": (two('{ name = "a", mean = 1.0, sd = 0.1 }', B), 'or n = "not stated"'),
    "mean is text": (two('{ name = "a", mean = "1.0" }', B), 'mean must be a number, not "1.0"'),
    "mean is nan": (two('{ name = "a", mean = nan }', B), "mean must be a number"),
    "mean is infinite": (two('{ name = "a", mean = -inf }', B), "mean must be a number"),
    "mean is true": (two('{ name = "a", mean = true }', B), "mean must be a number"),
    "mean beyond floats": (two('{ name = "a", mean = 1e300 }', B), "out of any range"),
    "mean missing": (two('{ name = "a" }', B), "mean is missing"),
    "name missing": (two("{ mean = 1.0 }", B), "arm 1: name is missing"),
    "one arm": (two(A), "at least two arms, this one has 1"),
    "no arms": ('[[table]]\nname = "t"\nbetter = "lower"\n', "at least two arms"),
    "arm is text": (two('"a"', B), "must be a table of keys and values"),
    "two arms of one name": (two(A, A), "two arms are called 'a'"),
    "two tables of one name": (GOOD + GOOD, "two tables are called 't'"),
    "nothing": ("", "at least one [[table]]"),
    "table is no list": ("[table]\nx = 1\n", "table must be a list of tables"),
    "better": (GOOD.replace('"lower"', '"lowr"'), "did you mean 'lower'?"),
    "better missing": (GOOD.replace('better = "lower"\n', ""), "better is missing; valid: higher, lower"),
    "analysis": (two(A, B, extra='analyses = ["welch"]\n'), "did you mean 'welch-holm'?"),
    "pooled-t against nothing": (two(A, B, extra='analyses = ["pooled-t"]\n'), "pooled-t needs the arm"),
    "one-sample-t without target": (two(A, B, extra='analyses = ["one-sample-t"]\n'), "needs a target"),
    "error-counts without items": (two(A, B, extra='analyses = ["error-counts"]\n'), "needs items"),
    "error-counts of no percentage": (
        two('{ name = "a", mean = 101.0 }', B, extra="items = 50\n"),
        "needs percentages; 'a' is not",
    ),
    "against nobody": (two(A, B, extra='analyses = ["pooled-t"]\nagainst = "c"\n'), "unknown arm 'c'"),
    "pair of one": (two(A, B, extra='pairs = [["a"]]\n'), "two different arms"),
    "beats nobody": (two(A, B, extra='beats = [{ arms = ["a"], than = [] }]\n'), "two lists of different arms"),
    "alpha": (two(A, B, extra="alpha = 1.5\n"), "alpha must lie between 0 and 1"),
    "not TOML": ("[[table]\n", "is not valid TOML"),
    "agreement with nothing": (
        f'{GOOD}\n[[agreement]]\nof = "t"\nwith = "shazeer-2020/65536 steps"\n',
        "unknown table",
    ),
    "agreement without arms": (
        f'{GOOD}\n[[agreement]]\nof = "t"\nwith = "shazeer-2020/65,536 steps"\n',
        "share fewer than two arms",
    ),
    "two names for one arm": (
        two('{ name = "x", mean = 1.0 }', '{ name = "y", mean = 2.0 }', '{ name = "ReLU", mean = 3.0 }')
        + '[[agreement]]\nof = "t"\nwith = "shazeer-2020/65,536 steps"\nnames = { x = "GELU", y = "GELU" }\n',
        "make 'x' and 'y' the same arm, 'GELU'",
    ),
    "a name for an arm that is there itself": (
        two('{ name = "x", mean = 1.0 }', '{ name = "GELU", mean = 2.0 }')
        + '[[agreement]]\nof = "t"\nwith = "shazeer-2020/65,536 steps"\nnames = { x = "GELU" }\n',
        "make 'x' and 'GELU' the same arm, 'GELU'",
    ),
    "nested too deeply": (f"x = {'[' * 5000}{']' * 5000}\n", "nested too deeply"),
    "more digits than Python converts": (f"x = {'9' * 5000}\n", "is not valid TOML"),
    "hexadecimal beyond printing": (two(f'{{ name = "a", mean = 0x{"f" * 5000} }}', B), "out of any range"),
    "an integer beyond floats": (two(f'{{ name = "a", mean = {"9" * 400} }}', B), "out of any range"),
    "a table with the name of one of the package": (
        GOOD.replace('"t"', '"shazeer-2020/65,536 steps"'),
        "hides the table",
    ),
    "a table with the full name of another": (GOOD + GOOD.replace('"t"', '"mine/t"'), "hides the table"),
    "noise of an unknown arm": (
        SPEEDUP.replace("N", "1").partition("noise")[0]
        + 'noise = [{ table = "mish-2019/SqueezeNet, CIFAR-10", arm = "x" }]',
        "unknown arm 'x'",
    ),
    "noise without an SD": (
        SPEEDUP.replace("N", "1").partition("noise")[0] + 'noise = [{ table = "robustness/Xie 2020", arm = "ReLU" }]',
        "gives no SD",
    ),
    "loss below the floor": (SPEEDUP.replace("N", "1").replace("SD", "1.0").replace("3.70", "1.60"), "above the floor"),
    "speed-up beyond numbers": (
        SPEEDUP.replace("N", "1").replace("SD", "0.1").replace("exponent = 0.1", "exponent = 1e-9"),
        "beyond any number",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_table_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    text, expected = REFUSED[case]
    with pytest.raises(GatewiseError) as caught:
        run(tmp_path, text)
    message = str(caught.value)
    assert expected in message
    assert "\n" not in message
    assert message.startswith(("mine", str(tmp_path)))


@pytest.mark.parametrize("table", ["65,536 steps", "t"])
def test_a_source_with_the_name_of_one_of_the_package_is_refused(tmp_path: Path, table: str) -> None:
    named = '[source]\nname = "shazeer-2020"\n' + GOOD.replace('"t"', f'"{table}"')
    with pytest.raises(GatewiseError, match=r"^shazeer-2020: the package has a source of this name.*$"):
        run(tmp_path, named)
    assert run(tmp_path, named.replace("shazeer-2020", "shazeer-2020 again"))["results"]


def test_a_missing_file_and_a_binary_one(tmp_path: Path) -> None:
    with pytest.raises(GatewiseError, match="cannot read the tables"):
        claims.published(tmp_path / "none.toml")
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GatewiseError, match="not UTF-8 text"):
        claims.published(tmp_path / "x.toml")


def test_the_command_refuses_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(REFUSED["negative sd"][0], encoding="utf-8")
    command = [sys.executable, "-m", "gatewise", "claims", "--published", "--file", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr


FIGURE = st.decimals(min_value="-1000", max_value="1000", places=3)
SPREAD = st.decimals(min_value="0.001", max_value="100", places=3)
ARM = st.tuples(FIGURE, SPREAD, st.integers(2, 200))


@given(arms=st.lists(ARM, min_size=2, max_size=6))
def test_laws_of_any_table(tmp_path_factory: pytest.TempPathFactory, arms: list[tuple[Any, Any, int]]) -> None:
    rows = [f'{{ name = "arm {i}", mean = {m}, sd = {s}, n = {n} }}' for i, (m, s, n) in enumerate(arms)]
    results = run(tmp_path_factory.mktemp("laws"), two(*rows))["results"]
    details = [each["detail"] for each in results if "interval" in each]
    assert len(details) == len(arms) * (len(arms) - 1) // 2
    for each in results:
        assert all(math.isfinite(limit) for limit in each.get("interval", [0.0]))
        if "interval" not in each:
            continue
        low, high = each["interval"]
        detail = each["detail"]
        # The interval at Holm's level says the same as the corrected p-value.
        assert (low > 0 or high < 0) == (each["evidence"] == "established")
        assert (detail["p_holm"] <= 0.05) == (each["evidence"] == "established")
        assert 0 <= detail["p"] <= detail["p_holm"] <= 1
        assert detail["p_rounding"][0] <= detail["p"] <= detail["p_rounding"][1]
