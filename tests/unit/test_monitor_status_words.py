"""The sentences on top of a status: what is wrong, and what to do about it."""

import argparse
import shlex
from typing import Any

import pytest

from gatewise.cli import _versions_arguments as versions
from gatewise.monitor import Alarm
from gatewise.monitor._status_plain import plain
from gatewise.monitor._status_words import headline


def alarmed(kind: str, roles: list[str], *, baseline: str | None = "v1") -> dict[str, Any]:
    alarm = plain(Alarm(kind=kind, model="m", version="v2", baseline=baseline, at_ns=10**18, summary="it moved"))
    return {
        "alarms": [alarm], "records": 5, "labels": 0, "comparisons": [], "registry": None,
        "models": [{"model": "m", "versions": [{"version": "v2", "roles": roles}]}],
    }  # fmt: skip


class TestWords:
    """The sentences on top."""

    @pytest.mark.parametrize(
        ("roles", "command", "says"),
        [
            (["live"], "gatewise rollback m --expect v2 --because 'latency alarm'", "answers m's callers"),
            (
                ["canary", "shadow"],
                "gatewise promote m none --to canary --expect v2 --because 'latency alarm'",
                "a share",
            ),
            (["shadow"], None, "Do not promote it"),
            ([], None, "nothing is left to do"),
        ],
    )
    def test_what_to_do_goes_by_what_the_version_does_now(
        self, roles: list[str], command: str | None, says: str
    ) -> None:
        action = headline(alarmed("latency", roles))["actions"][0]
        assert action["command"] == command
        assert says in action["text"]

    def test_the_commands_are_ones_that_the_command_line_knows(self) -> None:
        top = argparse.ArgumentParser()
        commands = top.add_subparsers(dest="command")
        versions.rollback(commands.add_parser)
        versions.promote(commands.add_parser)
        for roles in (["live"], ["canary"]):
            command = headline(alarmed("latency", roles) | {"registry": "r"})["actions"][0]["command"]
            parsed = top.parse_args(shlex.split(command)[1:])
            assert (parsed.model, parsed.expect, parsed.registry) == ("m", "v2", "r")

    def test_a_drift_is_not_cured_by_an_older_version(self) -> None:
        action = headline(alarmed("drift", ["live"], baseline=None))["actions"][0]
        assert action["command"] is None
        assert "does not change that" in action["text"]

    def test_the_alarms_own_words_get_their_subject(self) -> None:
        assert headline(alarmed("drift", ["live"], baseline=None))["headline"] == "m v2: it moved."

    def test_a_page_comes_before_an_older_ticket(self) -> None:
        document = alarmed("latency", ["live"])
        ticket = document["alarms"][0] | {"kind": "tail", "at_ns": 10**17}
        document["alarms"] = [ticket, document["alarms"][0] | {"severity": "page"}]
        found = headline(document)
        assert found["headline"] == "m v2 is slower than v1."
        assert "1 more alarm below" in found["lead"]

    def test_the_worst_alarm_says_first_what_to_do_and_nothing_is_said_twice(self) -> None:
        document = alarmed("latency", ["live"])
        page = document["alarms"][0] | {"severity": "page"}
        drift = document["alarms"][0] | {"kind": "drift", "at_ns": 10**17, "baseline": None}
        actions = headline(document | {"alarms": [drift, page, page]})["actions"]
        assert [each["text"][:8] for each in actions] == ["v2 answe", "What m i"]

    def test_silence_says_what_was_looked_at(self) -> None:
        found = headline(alarmed("latency", []) | {"alarms": [], "comparisons": [{"verdict": "inconclusive"}] * 2})
        assert (found["state"], found["lead"]) == (
            "quiet",
            "5 records and 0 labels were read; 2 comparisons: 2 still inconclusive.",
        )
