"""Alarms on their way out: once each, never in anybody's way, signed, tried again, and acted on within a guard."""

import dataclasses
import hashlib
import hmac
import json
import math
import threading

import httpx2
import pytest

from gatewise.core import GatewiseError
from gatewise.monitor import Alarm
from gatewise.monitor._notify import Action, ActionGuard, LogFile, Notifier, Webhook, WebhookSettings, body, cause

ALARM = Alarm(
    kind="drift", model="m", version="v1", at_ns=1, summary="moved", evidence={"feature": "input x"}, replay="again"
)
PAGE = dataclasses.replace(ALARM, kind="errors", severity="page")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def hook(answers, **settings):
    """A webhook whose receiver gives these answers in turn, and the requests that it got."""
    got: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        got.append(request)
        found = answers[min(len(got), len(answers)) - 1]
        if isinstance(found, Exception):
            raise found
        return httpx2.Response(found)

    made = WebhookSettings(url="http://127.0.0.1/alarms", back_off_s=0.0, **settings)
    return Webhook(made, transport=httpx2.MockTransport(answer)), got


def test_an_alarm_found_again_has_the_same_cause():
    assert cause(ALARM) == cause(dataclasses.replace(ALARM, at_ns=2, summary="moved further"))
    others = [
        dataclasses.replace(ALARM, **change)
        for change in ({"kind": "health"}, {"version": "v2"}, {"baseline": "v0"}, {"evidence": {"feature": "input y"}})
    ]
    assert len({cause(each) for each in [ALARM, *others]}) == 5


def test_the_log_has_a_line_for_each_alarm_and_never_nan(tmp_path):
    log = LogFile(tmp_path / "alarms.jsonl")
    log.send(ALARM)
    log.send(dataclasses.replace(ALARM, evidence={"a": math.nan, "b": object()}))
    first, second = [
        json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / "alarms.jsonl").read_text().splitlines()
    ]
    assert first == json.loads(body(ALARM))
    assert (first["kind"], first["replay"], first["evidence"]) == ("drift", "again", {"feature": "input x"})
    assert second["evidence"]["a"] == "NaN"


def test_a_webhook_is_signed():
    webhook, got = hook([204], secret="s3cret")
    webhook.send(ALARM)
    (request,) = got
    stamp = request.headers["X-Gatewise-Timestamp"]
    expected = hmac.new(b"s3cret", stamp.encode() + b"." + request.content, hashlib.sha256).hexdigest()
    assert request.headers["X-Gatewise-Signature"] == f"sha256={expected}"
    assert request.headers["X-Gatewise-Alarm"] == cause(ALARM)
    assert json.loads(request.content)["summary"] == "moved"


@pytest.mark.parametrize("first", [500, 503, 429, 408, httpx2.ConnectError("no"), httpx2.ReadTimeout("slow")])
def test_what_may_pass_is_tried_again(first):
    webhook, got = hook([first, first, 200])
    webhook.send(ALARM)
    assert len(got) == 3


@pytest.mark.parametrize("answer", [400, 401, 404, 302, 307])
def test_what_will_not_pass_is_not_tried_again_and_redirects_are_not_followed(answer):
    webhook, got = hook([answer])
    with pytest.raises(GatewiseError, match=f"HTTP {answer}"):
        webhook.send(ALARM)
    assert len(got) == 1


def test_a_webhook_gives_up():
    webhook, got = hook([500], attempts=3)
    with pytest.raises(GatewiseError, match="HTTP 500"):
        webhook.send(ALARM)
    assert len(got) == 3


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "host/x", "http://", ""])
def test_only_http_urls_are_taken(url):
    with pytest.raises(GatewiseError, match="http or https"):
        WebhookSettings(url=url)


def test_settings_do_not_show_what_is_secret():
    shown = repr(WebhookSettings(url="https://host/token-in-path", secret="s3cret"))
    assert "s3cret" not in shown
    assert "token" not in shown


class Slow:
    """An output that waits until it is let go."""

    name = "slow"

    def __init__(self) -> None:
        self.go, self.got = threading.Event(), []

    def send(self, alarm: Alarm) -> None:
        assert self.go.wait(10)
        self.got.append(alarm)


class Broken:
    name = "broken"

    def send(self, alarm: Alarm) -> None:
        raise ZeroDivisionError("not mine")


def numbered(n: int) -> Alarm:
    return dataclasses.replace(ALARM, evidence={"feature": f"input {n}"})


def test_an_output_that_hangs_holds_up_nobody_and_the_queue_is_bounded(tmp_path):
    told: list[tuple[str, str]] = []
    slow = Slow()
    notifier = Notifier(
        [slow, Broken(), LogFile(tmp_path / "log")], told=lambda name, result, _: told.append((name, result)), waiting=5
    )
    for n in range(20):
        assert notifier.send(numbered(n))
    assert told.count(("slow", "dropped")) >= 14
    assert not slow.got
    slow.go.set()
    assert notifier.close(10)
    assert len(slow.got) + told.count(("slow", "dropped")) == 20
    assert told.count(("broken", "failed")) + told.count(("broken", "dropped")) == 20
    logged = len((tmp_path / "log").read_bytes().splitlines())
    assert logged == told.count(("log", "sent")) >= 5
    with pytest.raises(GatewiseError, match="closed"):
        notifier.send(ALARM)


def test_each_alarm_goes_out_once_until_it_is_found_again_much_later():
    clock, slow = Clock(), Slow()
    slow.go.set()
    notifier = Notifier([slow], again_after_s=100, clock=clock)
    assert [notifier.send(ALARM) for _ in range(3)] == [True, False, False]
    clock.now += 101
    assert notifier.send(ALARM)
    assert notifier.close(10)
    assert len(slow.got) == 2


def test_an_action_keeps_within_its_guard():
    clock, done, older = Clock(), [], [True]
    guard = ActionGuard(cool_down_s=60, most_per_hour=2)
    action = Action(
        "roll back", lambda alarm: str(done.append(alarm)), possible=lambda _: older[0], guard=guard, clock=clock
    )
    assert action.applies(PAGE)
    assert not action.applies(ALARM)
    action.send(PAGE)
    with pytest.raises(GatewiseError, match="not again within 60 s"):
        action.send(PAGE)
    clock.now += 61
    action.send(PAGE)
    clock.now += 61
    with pytest.raises(GatewiseError, match="at most 2 times an hour"):
        action.send(PAGE)
    clock.now += 3600
    older[0] = False
    with pytest.raises(GatewiseError, match="nothing to go back to"):
        action.send(PAGE)
    assert len(done) == 2


def test_an_action_that_fails_is_not_tried_in_a_loop():
    clock, tries = Clock(), []

    def fail(alarm: Alarm) -> str:
        tries.append(alarm)
        raise GatewiseError("the registry is gone")

    action = Action("roll back", fail, possible=lambda _: True, clock=clock)
    for expected in ("registry is gone", "not again within"):
        with pytest.raises(GatewiseError, match=expected):
            action.send(PAGE)
    assert len(tries) == 1


def test_an_action_is_not_bothered_with_what_it_is_not_for():
    told: list[str] = []
    action = Action("roll back", lambda _: "done", possible=lambda _: True)
    notifier = Notifier([action], told=lambda name, result, _: told.append(f"{name} {result}"))
    notifier.send(ALARM)
    notifier.send(PAGE)
    assert notifier.close(10)
    assert told == ["roll back sent"]
