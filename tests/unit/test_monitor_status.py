"""How a service stands: the same document from the same records, whatever one asks, and bad input said kindly."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monitor_examples import START_NS, Story, example, reference, write, written

from gatewise.core import GatewiseError
from gatewise.monitor import Alarm, Label, Record
from gatewise.monitor._cost import Machine
from gatewise.monitor._log import Log
from gatewise.monitor._notify import LogFile
from gatewise.monitor._status import StatusReader, StatusSettings, status, status_of
from gatewise.monitor._status_follow import Follower
from gatewise.monitor._status_kept import keep_settings, kept_settings
from gatewise.monitor._status_labels import NO_PREDICTIONS, labelled, share_interval
from gatewise.monitor._status_moves import Moves, models, moves
from gatewise.monitor._status_plain import plain
from gatewise.monitor._status_sources import judge_names, live_settings
from gatewise.monitor._status_traffic import streams, timeline, traffic, window_of
from gatewise.monitor._status_words import headline
from gatewise.monitor._terminal import render

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "monitor.schema.json").read_text("utf-8"))
SMALL = Story(requests=900, minutes=6.0, shadowed=0.5, slower=1.2, canary=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = write(tmp_path_factory.mktemp("monitor") / "records", SMALL)
    (found / "references" / "encoder").mkdir(parents=True)
    (found / "references" / "encoder" / "v1.json").write_text(reference(example(SMALL)[0]).to_json(), "utf-8")
    return found


@pytest.fixture(scope="module")
def document(folder: Path) -> dict[str, Any]:
    return status(folder, StatusSettings(machine=Machine(cores=2, price_per_hour=0.2)))


class TestTheDocument:
    """What is in it."""

    def test_it_is_as_its_schema_says(self, document: dict[str, Any]) -> None:
        jsonschema.validate(document, SCHEMA)
        broken = document | {"alarms": [document["alarms"][0] | {"severity": "panic"}]}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, SCHEMA)

    def test_it_is_strict_json(self, document: dict[str, Any]) -> None:
        assert json.loads(json.dumps(document, allow_nan=False)) == document

    def test_the_slower_version_is_found_and_what_to_do_is_said(self, document: dict[str, Any]) -> None:
        assert document["state"] == "alarm"
        assert document["headline"] == "encoder v2 is slower than v1."
        assert "Known since 2026-03-02 14:0" in document["lead"]
        assert document["actions"][0]["command"] == (
            "gatewise promote encoder none --to canary --expect v2 --because 'latency alarm'"
        )

    def test_counts_are_those_of_the_records(self, document: dict[str, Any]) -> None:
        records, labels = example(SMALL)
        assert document["records"] == len(records) == sum(each["requests"] for each in document["traffic"])
        assert document["labels"] == len({(label.request, label.row) for label in labels})
        for each in document["traffic"]:
            mine = [record for record in records if (record.version, record.role) == (each["version"], each["role"])]
            for word in ("ok", "error", "refused", "expired"):
                assert each[word] == sum(record.status == word for record in mine)
            assert sum(why["requests"] for why in each["reasons"]) == len(mine) - each["ok"]

    def test_every_part_of_the_window_is_counted_once(self, document: dict[str, Any]) -> None:
        line = document["timeline"]
        for each, series in zip(document["traffic"], line["series"], strict=True):
            assert sum(series["requests"]) == each["requests"]
            assert sum(series["unanswered"]) == each["requests"] - each["ok"]

    def test_the_bill_adds_up(self, document: dict[str, Any]) -> None:
        cost = document["cost"]
        parts = sum(each["total_core_ns"] for each in cost["versions"]) + cost["unassigned_core_ns"]
        window = document["window"]
        assert parts == cost["meter_core_ns"] == 2 * (window["end_ns"] - window["start_ns"])

    def test_drift_is_watched_where_there_is_a_reference(self, document: dict[str, Any]) -> None:
        assert {each["feature"] for each in document["drift"]} >= {"input tokens"}
        assert {each["version"] for each in document["drift"]} == {"v1"}

    def test_without_a_machine_there_is_no_cost(self, folder: Path) -> None:
        found = status(folder)
        assert found["cost"] is None
        jsonschema.validate(found, SCHEMA)


class TestReplay:
    """The same records give the same alarms."""

    def test_twice_is_the_same(self, folder: Path, document: dict[str, Any]) -> None:
        assert status(folder, StatusSettings(machine=Machine(cores=2, price_per_hour=0.2))) == document

    def test_every_alarm_comes_again_from_its_own_command(self, folder: Path, document: dict[str, Any]) -> None:
        assert len(document["alarms"]) >= 2
        for alarm in document["alarms"]:
            words = alarm["replay"].split()
            assert words[:5] == ["gatewise", "monitor", str(folder), "--model", "encoder"]
            again = status(folder, StatusSettings(model="encoder", until_ns=int(words[-1])))
            assert alarm in again["alarms"]
            assert all(each["at_ns"] <= alarm["at_ns"] for each in again["alarms"])

    def test_a_record_that_was_done_late_was_not_there_earlier(self, tmp_path: Path) -> None:
        # a arrives first and is done last: at its arrival nothing was known, of b neither.
        slow = Record(request="a", at_ns=START_NS, model="m", version="v1", digest="d", role="live", compute_s=5.0)
        with Log(tmp_path) as log:
            log.append(replace(slow, request="b", at_ns=START_NS + 10**9, compute_s=0.1))
            log.append(slow)
        assert status(tmp_path, StatusSettings(until_ns=START_NS))["records"] == 1
        assert status(tmp_path, StatusSettings(until_ns=START_NS + 10**9))["records"] == 2
        assert status(tmp_path, StatusSettings(until_ns=START_NS - 1))["state"] == "empty"

    def test_what_is_shown_does_not_change_what_is_found(self, folder: Path, document: dict[str, Any]) -> None:
        late = status(folder, StatusSettings(since_ns=START_NS + 300 * 10**9, limit=50, model="encoder"))
        assert late["alarms"] == document["alarms"]
        assert late["comparisons"] == document["comparisons"]
        assert late["window"]["records"] == 50
        assert late["window"]["cut"]

    def test_one_that_goes_on_reads_only_what_is_new_and_says_the_same(self, tmp_path: Path) -> None:
        records, labels = example(replace(SMALL, requests=300))
        entries = list(written(records, labels))
        follower = Follower(tmp_path, StatusSettings())
        assert follower.document()["state"] == "empty"
        with Log(tmp_path) as log:
            for half in (entries[:200], entries[200:]):
                for each in half:
                    log.append(each) if isinstance(each, Record) else log.label(each)
                log.flush()
                found = follower.document()
        assert found == status(tmp_path)

    def test_settings_kept_beside_the_records_are_used_again(self, folder: Path) -> None:
        strict = status(folder, StatusSettings(judge={"alpha": 1e-9}))
        keep_settings(folder, {"judge": {"alpha": 1e-9}, "service": {"registry": "our registry"}})
        try:
            kept = status(folder)
        finally:
            (folder / "monitor.json").unlink()
        assert [each["evidence"] for each in kept["alarms"]] == [each["evidence"] for each in strict["alarms"]]
        assert kept["comparisons"] == strict["comparisons"] != status(folder)["comparisons"]
        assert kept["actions"][0]["command"].endswith("--registry 'our registry'")


class TestNumbers:
    """Each number against another way to it."""

    def test_percentiles_are_values_of_the_sample_within_their_interval(self, document: dict[str, Any]) -> None:
        records, _ = example(SMALL)
        live = sorted(each.latency_s for each in records if each.role == "live" and each.status == "ok")
        found = next(each for each in document["traffic"] if each["role"] == "live")["latency"]
        assert found[0]["value_s"] == live[(len(live) - 1) // 2]
        for each in found:
            assert each["low_s"] <= each["value_s"] <= (each["high_s"] or each["value_s"])

    def test_the_mean_batch_counts_each_batch_once(self) -> None:
        one = Record(request="a", at_ns=0, model="m", version="v", digest="d", role="live", rows=1, batch_rows=4)
        three = replace(one, rows=3)
        alone = replace(one, rows=2, batch_rows=2)
        found = traffic(("m", "v", "live"), [one, three, alone], (0, 10**9), 0.95)["batch_rows"]
        assert found["mean"] == 3.0  # (4 + 2) / 2 batches
        assert found["sizes"] == [{"rows": 2, "requests": 1}, {"rows": 4, "requests": 2}]

    @settings(max_examples=40)
    @given(st.integers(0, 40), st.integers(1, 40))
    def test_the_interval_of_a_share_is_the_exact_one(self, hits: int, n: int) -> None:
        from scipy.stats import binomtest

        hits = min(hits, n)
        exact = binomtest(hits, n).proportion_ci(0.9)
        assert share_interval(hits, n, 0.9) == pytest.approx((exact.low, exact.high), abs=1e-9)

    def test_accuracy_is_of_labelled_rows_and_of_classes_alone(self) -> None:
        record = Record(
            request="a", at_ns=0, model="m", version="v", digest="d", role="live", rows=3, predictions=(1.0, 2.0, 3.0)
        )
        found = labelled({("m", "v", "live"): [record]}, {("a", 0): 1.0, ("a", 2): 0.0}, 0.95)[0]
        assert (found["rows"], found["labelled"], found["right"], found["accuracy"]) == (3, 2, 1, 0.5)
        numbers = replace(record, predictions=(1.5,))
        assert labelled({("m", "v", "live"): [numbers]}, {("a", 0): 1.5}, 0.95)[0]["accuracy"] is None

    def test_a_label_that_comes_twice_counts_once_and_the_first_one_counts(self, tmp_path: Path) -> None:
        record = Record(request="a", at_ns=5, model="m", version="v", digest="d", role="live", predictions=(1.0,))
        labels = [Label(request="a", value=value, at_ns=at) for value, at in ((1.0, 6), (0.0, 7), (0.0, 8))]
        found = status_of([record, *labels], StatusSettings(), folder=str(tmp_path))
        assert (found["labels"], found["labelled"][0]["accuracy"]) == (1, 1.0)

    @given(st.lists(st.integers(0, 10**12), min_size=1, max_size=40), st.integers(1, 60))
    def test_a_timeline_holds_every_record(self, arrivals: list[int], buckets: int) -> None:
        records = [Record(request="a", at_ns=at, model="m", version="v", digest="d", role="live") for at in arrivals]
        window = window_of(records, None)
        assert window is not None
        line = timeline(streams(records), window, buckets)
        assert sum(line["series"][0]["requests"]) == len(arrivals)
        assert line["start_ns"] + buckets * line["bucket_ns"] >= window[1]

    def test_roles_are_those_of_now(self) -> None:
        first = Record(request="a", at_ns=1, model="m", version="v1", digest="d1", role="live")
        then = [
            first,
            replace(first, at_ns=2, version="v2", digest="d2", role="shadow"),
            replace(first, at_ns=3, version="v2", digest="d2"),
        ]
        found = {each["version"]: each for each in models(then)[0]["versions"]}
        assert found["v1"]["roles"] == []
        assert found["v2"]["roles"] == ["live", "shadow"]
        assert found["v1"]["had"] == ["live"]

    def test_roles_are_what_the_server_says_of_its_aliases(self) -> None:
        first = Record(request="a", at_ns=1, model="m", version="v1", digest="d1", role="live")
        then = [first, replace(first, at_ns=2, version="v2", digest="d2", role="canary")]
        found = {each["version"]: each for each in models(then, {"m": {"live": "v1", "canary": None}})[0]["versions"]}
        assert (found["v2"]["roles"], found["v2"]["had"]) == ([], ["canary"])
        assert found["v1"]["roles"] == ["live"]

    def test_what_the_server_did_since_it_wrote_its_aliases_down_counts(self, tmp_path: Path) -> None:
        aliases = {"m": {"live": "v2", "canary": "v3", "shadow": None}, "n": {"live": "w1"}}
        keep_settings(tmp_path, {"service": {"aliases": aliases, "before": {"m": "v1", "n": None}, "since_ns": 10}})
        for at_ns, model, version in ((5, "n", "w1"), (20, "m", "v2"), (30, "m", "v3")):
            with (tmp_path / "actions.jsonl").open("a") as file:
                file.write(json.dumps({"at_ns": at_ns, "model": model, "version": version, "did": "moved it"}) + "\n")
        assert moves(tmp_path, 9, pytest.fail).aliases == {}
        assert moves(tmp_path, 25, pytest.fail).aliases["m"] == {"live": "v1", "canary": "v3", "shadow": None}
        found = moves(tmp_path, 99, pytest.fail)
        assert found.aliases == {"m": {"live": "v1", "canary": None, "shadow": None}, "n": {"live": "w1"}}
        assert found.done["m", "v3"] == (30, "moved it")

    def test_where_nothing_was_live_before_no_way_back_is_advised(self) -> None:
        alarm = plain(Alarm(kind="health", model="m", version="v1", at_ns=1, summary="it moved"))
        held = [{"model": "m", "versions": [{"version": "v1", "roles": ["live"]}]}]
        document = {"alarms": [alarm], "records": 1, "labels": 0, "comparisons": [], "registry": None, "models": held}
        action = headline(document, Moves(before={"m": None}))["actions"][0]
        assert (action["command"], "no version to go back to" in action["text"]) == (None, True)
        assert headline(document, Moves(before={"m": "v0"}))["actions"][0]["command"] is not None

    def test_versions_that_predict_nothing_are_said_to(self) -> None:
        first = Record(request="a", at_ns=1, model="m", version="v1", digest="d1", role="live", first=True)
        pair = [first, replace(first, version="v2", digest="d2", role="shadow", first=False)]
        found = status_of(pair, StatusSettings(), folder="nowhere")
        said = {each["metric"]: each["reason"] for each in found["comparisons"]}
        assert said["accuracy"] == said["disagreement"] == NO_PREDICTIONS
        assert "no predictions in the answers" in render(found).partition("Labels")[2]

    def test_what_json_does_not_have_becomes_null_or_text(self) -> None:
        found = plain({"a": float("nan"), "b": (np.float64(1.5), np.int64(2)), "c": {3}, 4: Path("x")})
        assert found == {"a": None, "b": [1.5, 2], "c": [3], "4": "x"}


class TestBadInput:
    """What is wrong is said in a line or two."""

    def test_no_such_folder(self, tmp_path: Path) -> None:
        with pytest.raises(GatewiseError, match="does not exist"):
            status(tmp_path / "none")

    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("x")
        with pytest.raises(GatewiseError, match="is a file"):
            status(tmp_path / "a")

    @pytest.mark.parametrize("inside", [None, "result.json"])
    def test_an_empty_folder_and_one_of_something_else(self, tmp_path: Path, inside: str | None) -> None:
        if inside:
            (tmp_path / inside).write_text("{}")
        with pytest.raises(GatewiseError, match="no log here"):
            status(tmp_path)

    def test_a_log_without_a_request(self, tmp_path: Path) -> None:
        Log(tmp_path).close()
        found = status(tmp_path)
        assert (found["state"], found["window"], found["traffic"]) == ("empty", None, [])
        jsonschema.validate(found, SCHEMA)

    def test_a_damaged_file_is_named_and_the_rest_is_read(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "records", replace(SMALL, requests=60))
        segment = next(
            path for path in sorted((folder / "segments").iterdir()) if path.suffix in (".db", ".sqlite", ".parquet")
        )
        segment.write_bytes(b"not a data base at all" * 100)
        for beside in folder.glob("segments/*-wal"):
            beside.unlink()
        found = status(folder)
        assert "damaged" in found["notes"][0]
        assert found["records"] < 60

    def test_an_unknown_model(self, folder: Path) -> None:
        with pytest.raises(GatewiseError, match="did you mean 'encoder'"):
            status(folder, StatusSettings(model="encodr"))

    def test_a_damaged_reference_is_a_note(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "records", replace(SMALL, requests=60))
        (folder / "references" / "encoder").mkdir(parents=True)
        (folder / "references" / "encoder" / "v1.json").write_text("{", "utf-8")
        found = status(folder)
        assert "the drift of encoder v1 is not watched" in found["notes"][0]
        assert found["drift"] is None

    def test_alarms_that_no_record_shows_are_read_from_their_log(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "records", replace(SMALL, requests=60))
        alarm = Alarm(kind="health", model="encoder", version="v1", at_ns=START_NS, summary="dead units: 40 %")
        LogFile(folder / "alarms.jsonl").send(alarm)
        LogFile(folder / "alarms.jsonl").send(
            replace(alarm, kind="latency", baseline="v0")
        )  # the judge says that, or nobody
        with (folder / "alarms.jsonl").open("a") as log:
            log.write('{"kind": "health"}\n[]\n')
        found = status(folder)
        assert [(each["kind"], each["summary"]) for each in found["alarms"] if each["kind"] == "health"] == [
            ("health", "dead units: 40 %")
        ]
        assert [note.rpartition("alarms.jsonl")[2] for note in found["notes"]] == [
            ", line 3, is no alarm",
            ", line 4, is no alarm",
        ]
        jsonschema.validate(found, SCHEMA)
        assert status(folder, StatusSettings(until_ns=START_NS - 1))["alarms"] == []

    def test_a_name_that_leads_out_of_the_folder_reads_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "evil.json").write_text("{", "utf-8")
        reader = StatusReader(StatusSettings(), folder=str(tmp_path / "records"))
        reader.add(Record(request="a", at_ns=1, model="..", version="../evil", digest="d", role="live"))
        assert reader.document()["notes"] == []

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("{", "is damaged"),
            ('{"schema": "other"}', "does not hold"),
            ('{"schema": "gatewise.monitor-settings/1", "judge": 3}', "is an object"),
        ],
    )
    def test_damaged_settings(self, tmp_path: Path, text: str, says: str) -> None:
        (tmp_path / "monitor.json").write_text(text, "utf-8")
        with pytest.raises(GatewiseError, match=says):
            kept_settings(tmp_path)

    def test_an_unknown_section_is_not_kept(self, tmp_path: Path) -> None:
        with pytest.raises(GatewiseError, match="did you mean 'judge'"):
            keep_settings(tmp_path, {"jugde": {}})
        assert kept_settings(tmp_path) == {}

    @pytest.mark.parametrize(
        "wrong", [{"confidence": 1.0}, {"limit": 0}, {"buckets": True}, {"since_ns": 5, "until_ns": 5}]
    )
    def test_impossible_settings(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(GatewiseError):
            StatusSettings(**wrong)

    def test_settings_of_the_judge_by_name(self) -> None:
        assert live_settings({"alpha": 0.01, "metrics": ["latency"]}).metrics == ("latency",)
        budget = live_settings({"one_in": "year", "requests_per_s": 20, "share": 0.25})
        assert budget.run_length > 1e9
        with pytest.raises(GatewiseError, match="did you mean 'alpha'"):
            live_settings({"alhpa": 0.1})
        with pytest.raises(GatewiseError, match="takes both"):
            live_settings({"one_in": "year"})
        assert "folder" not in judge_names()
