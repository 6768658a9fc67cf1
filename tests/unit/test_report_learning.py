"""How the arms trained: side by side with unmatched ones branded, and what the searches of learning rates found."""

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_examples import BASINS, FAILURE, LOSSES, RATES, STEPS, with_search
from rich.cells import cell_len
from rich.console import Console
from test_report_html import Page

from gatewise import report
from gatewise.report import _search, _search_figure, _view
from gatewise.report._learning import Entry, Learning

EXAMPLE = Path(__file__).parents[1] / "data" / "result-example.json"


@pytest.fixture
def document() -> dict[str, Any]:
    return with_search(json.loads(EXAMPLE.read_text("utf-8")))


def learning(document: dict[str, Any]) -> Learning:
    (found,) = _view.build(document).learnings
    return found


def entries(found: Learning, label: str) -> dict[str, Entry]:
    line = next(line for _, lines in found.groups for line in lines if line.label == label)
    return dict(zip((arm.label for arm in found.arms), line.entries, strict=True))


def printed(document: dict[str, Any], width: int = 80) -> str:
    buffer = io.StringIO()
    report.terminal(document, Console(file=buffer, width=width))
    return buffer.getvalue()


# -- the arms side by side


def test_the_baseline_stands_first_and_unmatched_arms_last_and_branded(document: dict[str, Any]) -> None:
    found = learning(document)
    assert found.arms[0].baseline
    assert [arm.label for arm in found.arms if arm.unfair] == [found.arms[-1].label] == ["swiglu wide"]
    page = report.html(document)
    glance = page[page.index('<table class="glance">') : page.index("</table>", page.index('<table class="glance">'))]
    rows = re.findall(r"<tr>.*?</tr>", glance, re.DOTALL)
    for row in rows:
        cells = re.findall(r"<t[dh][^>]*>.*?</t[dh]>", row, re.DOTALL)
        assert ["unmatched" in cell.split(">")[0] for cell in cells[1:]] == [bool(arm.unfair) for arm in found.arms]
        if "verdict v-" in cells[-1]:  # no verdict of an unmatched arm stands without that word
            assert "unfair" in cells[-1]
    assert glance.count("unmatched: unfair") == 1


def test_every_value_is_that_of_the_metrics_own_panel(document: dict[str, Any]) -> None:
    view = _view.build(document)
    found = learning(document)
    for metric, label in (("heldout_loss", "loss at equal steps"), ("step_time", "time per step")):
        panel = next(panel for panel in view.panels if panel.metric == metric)
        for row in panel.rows:
            if row.twin:
                continue
            entry = entries(found, label)[row.arm]
            assert entry.verdict == ("" if row.refused else row.verdict)
            assert entry.between == ("" if row.refused else panel.interval(row))


def test_the_rate_of_an_arm_is_its_own_or_the_plans(document: dict[str, Any]) -> None:
    rates = {arm.label: arm.rate for arm in learning(document).arms}
    assert rates == {"gelu": "0.01", "relu": "0.04", "swiglu": "0.01", "swiglu wide": "0.01", "relu2": "0.01"}
    training = next(part["training"] for part in document["study"]["parts"] if part.get("training"))
    del training["search"]
    training["settings"]["learning_rate"] = 0.003
    assert {arm.rate for arm in learning(document).arms} == {"0.003"}


def _with_time_to_target(document: dict[str, Any], interval: list[float] | None) -> dict[str, Any]:
    like = next(each for each in document["comparisons"] if each["metric"] == "step_time" and not each["twin"])
    more = {"metric": "time_to_target", "arm": "relu", "estimate": 0.8 if interval else None, "interval": interval}
    more |= {"verdict": "better" if interval else "inconclusive", "evidence": "seed", "conditions": {}, "notes": []}
    document["comparisons"].append(like | more | {"reason": None if interval else "it was too noisy"})
    return document


def test_the_speed_up_is_the_inverse_of_the_time_to_the_target_at_both_ends(document: dict[str, Any]) -> None:
    found = entries(learning(_with_time_to_target(document, [0.5, 0.9])), "speed-up")
    assert found["gelu"].value == "×1"
    assert (found["relu"].value, found["relu"].between, found["relu"].verdict) == ("×1.25", "×1.11 to ×2.00", "better")


def test_what_was_refused_is_said_with_its_reason(document: dict[str, Any]) -> None:
    made = learning(_with_time_to_target(document, None))
    found = entries(made, "speed-up")["relu"]
    assert (found.value, found.said, found.verdict) == ("–", "refused", "")
    assert any("it was too noisy" in each for each in made.remarks)
    assert "it was too noisy" in report.html(document)


def test_a_loss_at_equal_time_is_stated_with_its_interval_and_not_judged(document: dict[str, Any]) -> None:
    made = learning(document)
    found = entries(made, "loss at equal time")
    assert found["relu"].value == "2.24"
    assert found["relu"].between == "+0.004 to +0.022"
    assert (found["relu"].verdict, found["relu"].said) == ("", "after 600 steps, not judged")
    assert found["swiglu"].said == "refused"
    assert any("the step was not timed" in each for each in made.remarks)
    assert any("cut short" in each for each in made.remarks)


def test_schedules_that_were_planned_to_end_together_are_not_called_equal_steps(document: dict[str, Any]) -> None:
    training = next(part["training"] for part in document["study"]["parts"] if part.get("training"))
    training["equal_schedule"] = {"relu": {"ratio": 0.9, "note": "at equal time: a step of relu takes 0.900"}}
    curve = next(e for e in document["measurements"] if e["metric"] == "heldout_curve" and e["arm"] == "relu")
    curve["conditions"] = {"steps": 480}
    found = learning(document)
    labels = [line.label for _, lines in found.groups for line in lines]
    assert "loss at the end" in labels
    assert "loss at equal steps" not in labels
    assert "at equal time: a step of relu takes 0.900." in found.remarks


# -- the search


def test_the_chosen_rates_basins_and_warnings_stand_in_every_format(document: dict[str, Any]) -> None:
    page, marked, terminal = report.html(document), report.markdown(document), printed(document)
    for content in (page, marked.replace("\\", ""), " ".join(terminal.split())):
        assert "own learning rate" in content
        assert "highest rate of the grid" in content  # of relu
        assert "Every rate failed" in content  # of relu2
        assert "the same held-out data" in content  # of swiglu
        assert FAILURE in content
    assert "lower end not found: its neighbour was stopped early" in page
    assert "upper end not found: the grid ends there" in page
    assert "×1.0 to ×4.0" in page
    assert "×2.0 or more" in page
    assert "search-1.optuna.journal" in page


def test_a_loss_stands_at_the_last_look_at_which_its_rate_stood(document: dict[str, Any]) -> None:
    search = learning(document).search
    assert search is not None
    rows = {found.arm: search.row(found) for found in search.found}
    assert rows["gelu"] == [
        ("2.900", "after 100"),
        ("2.410", "after 200"),
        ("2.300", ""),
        ("2.310", ""),
        ("2.900", "after 100"),
    ]
    assert rows["swiglu"][-1] == ("failed", "")
    assert rows["relu2"] == [("failed", "")] * len(RATES)


def _circles(panel: str, kind: str) -> list[tuple[float, float]]:
    groups = re.findall(rf'<g class="{kind}">.*?</g>', panel, re.DOTALL)
    found = [re.search(r'<circle cx="([\d.]+)" cy="([\d.]+)"', group) for group in groups]
    return [(float(each[1]), float(each[2])) for each in found if each]


def test_the_figure_draws_every_loss_where_it_is_and_rings_the_chosen_one(document: dict[str, Any]) -> None:
    search = learning(document).search
    assert search is not None
    source = str(_search_figure.figure(search, "x"))
    last = _circles(source, "look look-0")
    assert len(last) == sum(len(means) == len(STEPS) for arm in LOSSES.values() for means in arm.values())
    halos = [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="8"', source)]
    assert len(halos) == 4  # of relu2 every rate failed
    assert set(halos) <= set(last)
    gelu = [point for point in last if point[0] < 300 and point[1] < 250]
    assert gelu[0][1] > gelu[1][1]  # 2.30 lies lower on the page than 2.31
    spread = [math.log(rate) for rate in RATES[2:4]]
    assert gelu[1][0] - gelu[0][0] == pytest.approx((spread[1] - spread[0]) * _slope(source), rel=0.02)


def _slope(source: str) -> float:
    """Page units for a factor of e, from the ticks of the first panel."""
    ticks = re.findall(r'<text x="([\d.]+)" y="[\d.]+" class="tick" text-anchor="middle">(0\.\d+)</text>', source)[:2]
    (x1, low), (x2, high) = ((float(x), float(rate)) for x, rate in ticks)
    return (x2 - x1) / math.log(high / low)


def test_an_end_of_a_basin_that_was_not_found_is_drawn_open(document: dict[str, Any]) -> None:
    search = learning(document).search
    assert search is not None
    source = str(_search_figure.figure(search, "x"))
    open_ends = sum(edge != "between" for b in BASINS.values() if b for edge in (b["low_edge"], b["high_edge"]))
    assert source.count('class="basin-end open"') == open_ends == 4
    assert source.count('class="basin-end"') == 2 * 4 - open_ends


def test_a_loss_far_above_the_others_does_not_press_them_together(document: dict[str, Any]) -> None:
    training = next(part["training"] for part in document["study"]["parts"] if part.get("training"))
    training["search"]["arms"]["gelu"]["table"][0]["losses"]["100"] = [1e6, 1e6]
    search = learning(document).search
    assert search is not None
    ys = [y for _, y in _circles(str(_search_figure.figure(search, "x")), "look look-0")]
    assert max(ys[:2]) - min(ys[:2]) > 0.5  # 2.30 and 2.31 stay apart


def test_the_page_is_sound_and_nothing_is_there_without_training(document: dict[str, Any]) -> None:
    page = Page(report.html(document))
    assert page.ids.count("learning-1") == 1
    document["study"]["parts"] = [part for part in document["study"]["parts"] if not part.get("training")]
    assert _view.build(document).learnings == ()
    assert "How the arms trained" not in report.html(document)
    assert "own learning rate" not in report.markdown(document) + printed(document)


def test_older_documents_have_no_search(document: dict[str, Any]) -> None:
    training = next(part["training"] for part in document["study"]["parts"] if part.get("training"))
    for nothing in (None, [], {}, {"rates": [1]}, {"rates": [1, 2], "arms": {"a": {}}}, {"rates": "x", "arms": [1]}):
        training["search"] = nothing
        assert learning(document).search is None


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_terminal_keeps_to_its_width(document: dict[str, Any], width: int) -> None:
    shown = printed(document, width)
    block = shown[shown.index("own learning rate") :].split("\n\n")[0]
    assert "0.04" in block
    assert all(cell_len(line) <= width for line in block.splitlines())


def test_names_and_reasons_are_escaped(document: dict[str, Any]) -> None:
    held = json.dumps(document).replace(FAILURE, "<script>alert(1)</script>").replace("swiglu wide", "<b>wide</b>")
    page = report.html(json.loads(held))
    body = page[: page.index('<script type="application/json"')]
    assert "<script>alert" not in body
    assert "<b>wide" not in body


ARMS = [{"part": "p", "label": arm, "role": "arm" if arm != "gelu" else "baseline"} for arm in LOSSES]
SMALL = {"study": {"parts": [{"name": "p", "training": {"steps": 400}}]}, "arms": ARMS}
ODD = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["rate", "losses", "100"]), inner),
    max_leaves=6,
)


@given(
    key=st.sampled_from(["arms", "rates", "rung_steps", "budget_steps_per_arm", "distance", "journal"]),
    inner=st.sampled_from(["chosen", "table", "rungs", "seeds", "steps", "at_edge"]),
    value=ODD,
)
def test_no_record_however_odd_stops_the_page(key: str, inner: str, value: Any) -> None:
    document = with_search(SMALL)
    training = document["study"]["parts"][0]["training"]
    training["search"]["arms"]["gelu"][inner] = value
    for each in _search.searches(document):
        assert "nan" not in str(_search_figure.figure(each, "x"))
    training["search"][key] = value
    training["equal_time"] = value
    for found in _view.build(document).learnings:
        if found.search:
            assert "nan" not in str(_search_figure.figure(found.search, "x"))
