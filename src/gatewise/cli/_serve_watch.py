"""Joins what watches a server: the record, the judge, the watches, and where alarms go."""

import json
import os
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError

from ._serve_gauges import Gauges, Pairs
from ._serve_settings import Asked

if TYPE_CHECKING:
    from gatewise import monitor, serve
    from gatewise.versions import Registry

SECRET = "GATEWISE_WEBHOOK_SECRET"
ACTIONS = "actions.jsonl"


class Watched:
    """Everything that stands beside the server, ended by its `ExitStack` in the right order.

    Attributes:
        watching: `watch` and `label` of the server. `gauges`: the body of `/metrics`.
        wrap: puts the watch over activations around each version; None where that is switched off.
    """

    def __init__(self, found: Asked, record: str | None, registry: "Registry", stack: ExitStack) -> None:
        from gatewise import monitor, serve

        self._found, self._record, self._registry = found, record, registry
        self._check()
        self._settings = monitor.WatchSettings(
            drift=monitor.DriftSettings(**found.parts["drift"]),
            errors=monitor.ErrorSettings(**found.parts["errors"]),
            learn_reference=found.learn_reference,
            learn_estimate=found.learn_estimate,
        )
        self._metrics = monitor.Metrics()
        judge = monitor.live_settings(found.parts["judge"])
        log = None
        if record is not None:
            log = stack.enter_context(monitor.Log(record, monitor.LogSettings(**found.parts["log"])))
            judge = replace(judge, folder=record)
        self._notifier = monitor.Notifier(self._outputs(registry), told=self._told)
        stack.callback(self._notifier.close)
        links = serve.HealthLinks(self.alarmed, monitor.HealthSettings(**found.parts["health"]))
        self.wrap = links.wrap if found.health else None
        self._watches = monitor.Watches(record or os.devnull, self._settings, note=_say)
        self.watching = serve.Watching(
            journal=log,
            counted=self._metrics.observe,
            judges=[monitor.LiveJudge(judge), self._watches, Pairs(self._metrics, judge.tolerance)],
            alarmed=self.alarmed,
        )
        self.gauges = Gauges(
            self._metrics,
            watches=self._watches,
            links=links if found.health else None,
            log=log,
            look=self.watching.look,
        )
        stack.callback(self.gauges.stop)
        stack.callback(self.watching.close)

    def _check(self) -> None:
        from gatewise import monitor

        monitor.Machine(**self._found.machine)
        if self._record is None and (self._found.references or self._found.learn_reference):
            raise GatewiseError("a reference is kept beside the records; give --record DIR too")

    def _outputs(self, registry: "Registry") -> list[Any]:
        from gatewise import monitor, serve

        found: list[Any] = []
        if self._record is not None:
            found.append(monitor.LogFile(Path(self._record) / "alarms.jsonl"))
        if self._found.webhook is not None:
            secret = os.environ.get(SECRET)
            found.append(monitor.Webhook(monitor.WebhookSettings(url=self._found.webhook, secret=secret)))
        if self._found.rollback_on:
            undo = serve.Undo(registry, self._undone)
            guard = monitor.ActionGuard(
                kinds=self._found.rollback_on, severities=("page", "ticket"), **self._found.parts["rollback"]
            )
            found.append(monitor.Action("rollback", undo.act, possible=undo.possible, guard=guard))
        return found

    def alarmed(self, alarm: "monitor.Alarm") -> None:
        """An alarm, from whichever thread found it."""
        from gatewise import monitor

        # What is kept nowhere cannot be shown again.
        alarm = replace(alarm, replay="" if self._record is None else monitor.replay(self._record, alarm))
        self._metrics.alarm(alarm)
        try:
            new = self._notifier.send(alarm)
        except GatewiseError:  # the server has ended
            new = True
        if new:
            _say(f"{alarm.severity}: {alarm.summary}")

    def _told(self, output: str, result: str, why: str) -> None:
        self._metrics.add("gatewise_notices_total", 1.0, output=output, result=result)
        if result != "sent":
            _say(f"{output}: {why}")

    def _undone(self, alarm: "monitor.Alarm", line: str) -> None:
        """What an alarm made the server do, printed and kept beside the records."""
        _say(line)
        if self._record is None:
            return
        entry = {
            "schema": "gatewise.action/1",
            "at_ns": time.time_ns(),
            "model": alarm.model,
            "version": alarm.version,
            "did": line,
            "because": alarm.summary,
            "kind": alarm.kind,
        }
        with (Path(self._record) / ACTIONS).open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(entry)}\n")

    def keep(self, routes: "serve.Routes", plan: "serve.ResourcePlan", registry: str) -> None:
        """Write down what was asked for, so that `gatewise monitor` judges, charges and advises in the same way."""
        from gatewise import monitor

        if self._record is None:
            return
        held = {"live": routes.live, "canary": routes.canary, "shadow": routes.shadow}
        aliases = {name: None if each is None else each.version for name, each in held.items()}
        labels = [label for label in aliases.values() if label is not None]
        machine = {**self._found.machine, "threads": {label: plan.share(label).threads for label in labels}}
        parts = self._found.parts
        estimate = {"learn": self._found.learn_estimate} if self._found.learn_estimate else {}
        monitor.keep_settings(
            self._record,
            {
                "judge": parts["judge"],
                "drift": parts["drift"],
                "errors": parts["errors"],
                "estimate": estimate,
                "machine": machine,
                "service": {
                    "registry": registry,
                    "aliases": {routes.live.model: aliases},
                    "before": {routes.live.model: self._registry.before(routes.live.model)},
                    "since_ns": time.time_ns(),
                },
            },
        )

    def refer(self, routes: "serve.Routes") -> None:
        """Put the references that were given where the watches look for them. What came before is not compared."""
        from gatewise import monitor

        for label, path in self._found.references.items():
            try:
                given = monitor.Reference.from_json(Path(path).read_text("utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                raise GatewiseError(f"the reference {path} cannot be read: {error}") from error
            version = label or routes.live.version
            known = self._watches.reference(routes.live.model, version)
            if known is None or known.histograms != given.histograms:
                self._watches.put(routes.live.model, version, replace(given, after_ns=time.time_ns()))


def _say(line: str) -> None:
    print(f"gatewise: {line}", file=sys.stderr, flush=True)
