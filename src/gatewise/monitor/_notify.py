"""Where alarms go: a log, a webhook, an action. None of it ever holds up who raised the alarm.

Each output has a bounded queue and a thread of its own, so that a webhook that hangs holds up neither the log nor the
action. An alarm goes to an output once for each cause, not each time that it is found again.
"""

import hashlib
import hmac
import json
import os
import queue
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from gatewise.core import GatewiseError, MissingExtraError

from ._alarm import Alarm

Result = Literal["sent", "failed", "dropped"]
Told = Callable[[str, Result, str], object]
"""Is told of each output's name, what became of an alarm, and a line on why."""
CAUSES_KEPT = 10_000


def cause(alarm: Alarm) -> str:
    """A name for what an alarm is about; found again, it has the same one."""
    evidence = alarm.evidence
    about = evidence.get("cause", evidence.get("metric", evidence.get("feature", "")))
    parts = [alarm.kind, alarm.model, alarm.version, alarm.baseline or "", str(about)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def document(alarm: Alarm) -> dict[str, Any]:
    """An alarm as JSON values, with the name of its cause."""
    return {"schema": "gatewise.alarm/1", "id": cause(alarm), **asdict(alarm)}


def body(alarm: Alarm) -> bytes:
    """One line of JSON. What is not a JSON value is written as text; NaN does not occur."""
    try:
        return json.dumps(document(alarm), allow_nan=False, default=str, ensure_ascii=False).encode()
    except ValueError:  # a NaN somewhere in the evidence must not swallow the alarm
        return json.dumps(json.loads(json.dumps(document(alarm), default=str), parse_constant=str)).encode()


class Output(Protocol):
    """One way out. `send` may block, and raises `GatewiseError` where it did not work; it has a thread of its own."""

    @property
    def name(self) -> str: ...

    def send(self, alarm: Alarm) -> None: ...


class LogFile:
    """Appends each alarm as a line of JSON to a file."""

    name = "log"

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)

    def send(self, alarm: Alarm) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(body(alarm) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise GatewiseError(f"the alarm cannot be written to {self._path}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class WebhookSettings:
    """Where and how alarms are posted.

    Attributes:
        url: http or https, as the operator gave it; redirects are not followed.
        secret: signs each body where given: `X-Gatewise-Signature: sha256=HEX`, the HMAC-SHA256 of
            `TIMESTAMP.BODY`, with the `X-Gatewise-Timestamp` (Unix seconds) beside it.
        timeout_s: of one attempt. `attempts`: how often it is tried; `back_off_s`: the first pause, then doubled.
    """

    url: str
    secret: str | None = None
    timeout_s: float = 5.0
    attempts: int = 5
    back_off_s: float = 0.5

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise GatewiseError(f"a webhook is an http or https URL, not {self.url!r}")
        if self.secret is not None and not self.secret:
            raise GatewiseError("the secret of a webhook must not be empty")
        if not (self.timeout_s > 0 and self.attempts >= 1 and self.back_off_s >= 0):
            raise GatewiseError("a webhook needs timeout_s above 0, attempts from 1, and back_off_s from 0")

    def __repr__(self) -> str:
        return f"WebhookSettings(host={urlsplit(self.url).hostname!r})"  # neither a token in the path nor the secret


def signature(secret: str, timestamp: int, content: bytes) -> str:
    """What `X-Gatewise-Signature` must say of a body."""
    return "sha256=" + hmac.new(secret.encode(), b"%d." % timestamp + content, hashlib.sha256).hexdigest()


class Webhook:
    """Posts each alarm as JSON. Tried again on no answer, 408, 429 and 5xx; every other answer is final.

    The receiver may get an alarm twice (an answer that was lost); `X-Gatewise-Alarm` is the same then.

    Args:
        settings: where and how. `transport`: httpx2's, for tests. `stop`: set to give up waiting.
    """

    name = "webhook"

    def __init__(
        self, settings: WebhookSettings, *, transport: Any = None, stop: threading.Event | None = None
    ) -> None:
        try:
            import httpx2
        except ImportError as error:
            raise MissingExtraError("httpx2", "serve") from error
        self.settings = settings
        self.stop = stop or threading.Event()
        self._errors = httpx2.HTTPError
        self._client = httpx2.Client(timeout=settings.timeout_s, follow_redirects=False, transport=transport)

    def send(self, alarm: Alarm) -> None:
        content = body(alarm)
        said = ""
        for attempt in range(self.settings.attempts):
            if attempt and self.stop.wait(self.settings.back_off_s * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)):
                break
            said, again = self._post(content, cause(alarm))
            if not said:
                return
            if not again:
                break
        raise GatewiseError(f"the webhook did not take the alarm: {said}")

    def _post(self, content: bytes, identity: str) -> tuple[str, bool]:
        """What went wrong, "" where nothing did, and whether it is worth trying again."""
        headers = {"Content-Type": "application/json", "X-Gatewise-Alarm": identity}
        if self.settings.secret is not None:
            now = int(time.time())
            headers["X-Gatewise-Timestamp"] = str(now)
            headers["X-Gatewise-Signature"] = signature(self.settings.secret, now, content)
        try:
            # The answer's body is never read, however long it is.
            with self._client.stream("POST", self.settings.url, content=content, headers=headers) as response:
                status = int(response.status_code)
        except self._errors as error:
            return type(error).__name__, True
        if 200 <= status < 300:
            return "", False
        return f"HTTP {status}", status in (408, 429) or status >= 500


@dataclass(frozen=True, kw_only=True)
class ActionGuard:
    """When an action may be taken by itself.

    Attributes:
        kinds, severities: of which alarms.
        cool_down_s: the least time between two. `most_per_hour`: at most so many within any hour.
    """

    kinds: tuple[str, ...] = ("errors", "accuracy", "latency", "health")
    severities: tuple[str, ...] = ("page",)
    cool_down_s: float = 900.0
    most_per_hour: int = 2

    def __post_init__(self) -> None:
        if self.cool_down_s < 0 or self.most_per_hour < 1:
            raise GatewiseError("a guard needs cool_down_s from 0 and most_per_hour from 1")


class Action:
    """Does something about an alarm, such as rolling back, within its guard.

    Args:
        name: what it does. `act`: does it; its answer is one line on what was done, and it raises `GatewiseError`
            where it could not.
        possible: whether there is anything to do: for a rollback, that an older version exists and that the alarm is
            about the version that is live.
        guard: how often, and of which alarms. `clock`: seconds, monotonic.
    """

    def __init__(
        self,
        name: str,
        act: Callable[[Alarm], str],
        *,
        possible: Callable[[Alarm], bool],
        guard: ActionGuard | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.guard = guard or ActionGuard()
        self._act, self._possible, self._clock = act, possible, clock
        self._taken: list[float] = []

    def applies(self, alarm: Alarm) -> bool:
        """Whether an alarm is one of those that the action is for."""
        return alarm.kind in self.guard.kinds and alarm.severity in self.guard.severities

    def send(self, alarm: Alarm) -> None:
        now = self._clock()
        self._taken = [at for at in self._taken if now - at < max(3600.0, self.guard.cool_down_s)]
        if self._taken and now - self._taken[-1] < self.guard.cool_down_s:
            raise GatewiseError(f"{self.name}: not again within {self.guard.cool_down_s:g} s")
        if sum(now - at < 3600.0 for at in self._taken) >= self.guard.most_per_hour:
            raise GatewiseError(f"{self.name}: at most {self.guard.most_per_hour} times an hour")
        if not self._possible(alarm):
            raise GatewiseError(f"{self.name}: there is nothing to go back to")
        self._taken.append(now)  # also where it fails: a failing action must not be tried in a loop
        self._act(alarm)


class Notifier:
    """Hands alarms to outputs, each once, from threads of its own.

    Args:
        outputs: the ways out. `told`: is told what became of each alarm; it must not block.
        waiting: how many alarms may wait for one output; beyond that they are dropped, and `told` is told.
        again_after_s: a cause that is found again after so long is told again.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        outputs: Sequence[Output],
        *,
        told: Told | None = None,
        waiting: int = 1000,
        again_after_s: float = 86_400.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._told = told
        self._again_after_s, self._clock = again_after_s, clock
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False
        self._lanes: list[tuple[Output, queue.Queue[Alarm | None], threading.Thread]] = []
        for output in outputs:
            lane: queue.Queue[Alarm | None] = queue.Queue(waiting)
            thread = threading.Thread(
                target=self._work, args=(output, lane), name=f"gatewise-{output.name}", daemon=True
            )
            self._lanes.append((output, lane, thread))
            thread.start()

    def send(self, alarm: Alarm) -> bool:
        """Hand on an alarm; never blocks. False where its cause was told already."""
        identity, now = cause(alarm), self._clock()
        with self._lock:
            if self._closed:
                raise GatewiseError("the notifier is closed")
            told_at = self._seen.get(identity)
            if told_at is not None and now - told_at < self._again_after_s:
                return False
            self._seen[identity] = now
            self._seen.move_to_end(identity)
            while len(self._seen) > CAUSES_KEPT:
                self._seen.popitem(last=False)
        for output, lane, _ in self._lanes:
            if isinstance(output, Action) and not output.applies(alarm):
                continue
            try:
                lane.put_nowait(alarm)
            except queue.Full:
                self._tell(output.name, "dropped", "too many alarms wait for it")
        return True

    def _work(self, output: Output, lane: "queue.Queue[Alarm | None]") -> None:
        while (alarm := lane.get()) is not None:
            try:
                output.send(alarm)
            except Exception as error:  # noqa: BLE001  an output of somebody else's must not end the thread
                self._tell(output.name, "failed", f"{type(error).__name__}: {error}")
            else:
                self._tell(output.name, "sent", alarm.summary)

    def _tell(self, name: str, result: Result, why: str) -> None:
        if self._told is not None:
            self._told(name, result, why)

    def close(self, timeout_s: float = 5.0) -> bool:
        """Send what waits, for at most `timeout_s`; whether all of it was sent or given up on by its output."""
        with self._lock:
            self._closed = True
        until = time.monotonic() + timeout_s
        for _, lane, _ in self._lanes:
            try:
                lane.put(None, timeout=max(until - time.monotonic(), 0.0))
            except queue.Full:
                continue
        for output, _, thread in self._lanes:
            thread.join(max(until - time.monotonic(), 0.0))
            if thread.is_alive() and isinstance(output, Webhook):
                output.stop.set()
        return not any(thread.is_alive() for _, _, thread in self._lanes)
