"""The rules and the dashboard: what they use exists, and an alert fires when, and only when, a goal is missed."""

import json
import re
import shutil
import subprocess
from importlib.resources import files

import pytest

from gatewise.core import GatewiseError
from gatewise.monitor._prometheus import METRICS
from gatewise.monitor._rules import BURNS, DASHBOARD, RULES, ServiceGoal, dashboard, metric_names, rules, write_rules

promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")


def expressions() -> list[str]:
    """Everything that asks Prometheus something."""
    document = json.loads(dashboard())
    panels = [target["expr"] for panel in document["panels"] for target in panel.get("targets", [])]
    variables = [each["definition"] for each in document["templating"]["list"] if each["type"] == "query"]
    return [*panels, *variables, *re.findall(r'expr: (".*")', rules(ServiceGoal()))]


def test_every_metric_that_is_asked_for_exists_and_nearly_all_are_shown():
    used = set().union(*(metric_names(each) for each in expressions()))
    assert used <= set(METRICS)
    assert set(METRICS) - used == set()


def test_every_label_that_is_asked_for_exists():
    known = {label for declared in METRICS.values() for label in declared.labels} | {"le"}
    for each in expressions():
        for labels in re.findall(r"by \(([^)]*)\)", each):
            assert set(labels.split(", ")) <= known
        assert set(re.findall(r"[{,](\w+)(?:=~|!=|!~|=)", each.replace('\\"', '"'))) <= known


@pytest.mark.parametrize("wrong", ["rate(gatewise_request_total[5m])", "gatewise_queue_depth_bucket"])
def test_a_metric_that_does_not_exist_is_seen(wrong):
    with pytest.raises(GatewiseError, match="no metric is called"):
        metric_names(wrong)


def test_the_dashboard_is_one():
    document = json.loads(dashboard())
    assert document["schemaVersion"] >= 36
    ids = [panel["id"] for panel in document["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        taken |= cells
        if panel["type"] != "row":
            assert panel["targets"]
            assert all(target["expr"] and target["refId"] for target in panel["targets"])


def test_the_files_that_are_shipped_are_those_that_are_written(tmp_path):
    paths = write_rules(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == [RULES, DASHBOARD]
    shipped = files("gatewise.monitor").joinpath("files")
    for path in paths:
        assert path.read_text(encoding="utf-8") == shipped.joinpath(path.name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"availability": 1.0}, "availability"),
        ({"availability": 99.9}, "availability"),
        ({"latency_share": 0.2}, "latency_share"),
        ({"latency_s": 0.09}, "nearest is 0.1"),
    ],
)
def test_goals_that_cannot_be_watched_are_refused(wrong, said):
    with pytest.raises(GatewiseError, match=said):
        ServiceGoal(**wrong)


def test_a_file_in_the_way_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GatewiseError, match="cannot be written"):
        write_rules(tmp_path / "file")


def test_alerts_that_could_never_fire_are_left_out():
    assert rules(ServiceGoal()).count("- alert: GatewiseSlow") == len(BURNS)
    # 14.4 times a budget of 10 % is more than all requests.
    assert rules(ServiceGoal(latency_share=0.9)).count("- alert: GatewiseSlow") == len(BURNS) - 1


@promtool
@pytest.mark.parametrize(
    "goal", [ServiceGoal(), ServiceGoal(availability=0.95, latency_s=1.0, latency_share=0.9, replay='say "x" \\ y')]
)
def test_promtool_accepts_the_rules(goal, tmp_path):
    write_rules(tmp_path, goal)
    found = subprocess.run(["promtool", "check", "rules", str(tmp_path / RULES)], capture_output=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert b"SUCCESS" in found.stdout


UNIT = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'gatewise_requests_total{{model="m",version="v1",role="live",outcome="ok"}}'
        values: '0+{ok}x{minutes}'
      - series: 'gatewise_requests_total{{model="m",version="v1",role="live",outcome="{outcome}"}}'
        values: '0+{bad}x{minutes}'
    alert_rule_test:
      - eval_time: {minutes}m
        alertname: GatewiseUnansweredBurns14_4x
        exp_alerts: [{expected}]
"""
ALERT = """{exp_labels: {severity: page, model: m}, exp_annotations: {replay: gatewise monitor,
  summary: "2% of the requests to m are not answered: 14.4 times what the goal allows"}}"""


@promtool
@pytest.mark.parametrize(
    ("ok", "bad", "outcome", "fires"),
    [
        (980, 20, "error", True),
        (980, 20, "expired", True),
        (980, 20, "refused", True),
        (980, 20, "rejected", False),  # the caller's fault
        (990, 10, "error", False),  # ten times the budget
        (1000, 0, "error", False),
    ],
)
def test_an_alert_fires_when_the_budget_burns(ok, bad, outcome, fires, tmp_path):
    write_rules(tmp_path)
    text = UNIT.format(rules=RULES, ok=ok, bad=bad, outcome=outcome, minutes=120, expected=ALERT if fires else "")
    (tmp_path / "test.yml").write_text(text)
    found = subprocess.run(
        ["promtool", "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, check=False, timeout=60
    )
    assert found.returncode == 0, (found.stdout + found.stderr).decode()
