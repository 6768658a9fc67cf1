"""`gatewise serve`: versions of a registered model behind HTTP, recorded and judged."""

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, unknown_name

UNITS = {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9, "b": 1}
SHARED = ("threads", "memory")


def run(parsed: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 0 then."""
    from gatewise import monitor, serve
    from gatewise.versions import Registry

    found = settings(parsed.settings)
    plan = resources(found["plan"])
    for line in plan.check():
        print(f"gatewise: {line}", file=sys.stderr)
    follower = serve.Follower(
        Registry(parsed.registry),
        parsed.model,
        shares=serve.Shares(canary=share("--canary", parsed.canary), shadow=share("--shadow", parsed.shadow)),
        plan=plan,
    )
    with ExitStack() as stack:
        metrics = monitor.Metrics()
        log = None
        if parsed.record:
            log = stack.enter_context(monitor.Log(parsed.record, monitor.LogSettings(**found["log"])))
            found["judge"].setdefault("folder", parsed.record)
        judge = monitor.LiveJudge(monitor.LiveSettings(**found["judge"]))
        outputs = [monitor.LogFile(Path(parsed.record) / "alarms.jsonl")] if parsed.record else []
        notifier = monitor.Notifier(outputs)
        stack.callback(notifier.close)

        def alarmed(alarm: monitor.Alarm) -> None:
            metrics.alarm(alarm)
            if notifier.send(alarm):
                print(f"gatewise: {alarm.severity}: {alarm.summary}", file=sys.stderr)

        watching = serve.Watching(journal=log, counted=metrics.observe, judges=[judge], alarmed=alarmed)
        stack.callback(watching.close)
        application = serve.app(
            [follower.routes],
            serve.ServeSettings(**found["serve"]),
            watch=watching.watch,
            label=watching.label,
            metrics=lambda accept: _scraped(metrics, application, accept),
            refresh=lambda: follower.refresh(application),
        )
        follower.start(application, changed=lambda routes: print(_versions(routes), file=sys.stderr))
        stack.callback(follower.stop)
        serve.run(
            application,
            host=parsed.host,
            port=parsed.port,
            started=lambda address: _started(parsed, address, follower.routes),
        )
    return 0


def _scraped(metrics: Any, application: Any, accept: str) -> tuple[bytes, str]:
    """The counters, with the queues and the aliases as they are at this moment."""
    metrics.clear("gatewise_alias_info")
    for model in application.stats()["models"]:
        for each in model["versions"]:
            name = {"model": model["model"], "version": each["version"]}
            metrics.set("gatewise_queue_depth", each["waiting"], **name)
            metrics.set("gatewise_in_flight", each["under_way"], **name)
            metrics.set("gatewise_alias_info", 1, alias=each["role"], digest=each["digest"], **name)
    return metrics.text(accept)


def _started(parsed: argparse.Namespace, address: str, routes: Any) -> None:
    if parsed.json:
        told = {"address": address, "model": parsed.model, **_aliases(routes)}
        print(json.dumps(told), flush=True)
        return
    print(f"{address}/v2/models/{parsed.model}  {_versions(routes)}", flush=True)


def _aliases(routes: Any) -> dict[str, str | None]:
    return {name: each.version if (each := getattr(routes, name)) else None for name in ("live", "canary", "shadow")}


def _versions(routes: Any) -> str:
    found: list[str] = []
    for name, label in _aliases(routes).items():
        part = getattr(routes, f"{name}_share", None)
        if label is not None:
            found.append(f"{name} {label}" + ("" if part is None else f" ({100 * part:g} %)"))
    return ", ".join(found)


def share(option: str, text: str) -> float:
    """`5%` or `0.05`."""
    number = text.strip().removesuffix("%")
    try:
        found = float(number) / (100 if "%" in text else 1)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise GatewiseError(f"{option} takes a share such as 5% or 0.05, not {text!r}")
    return found


def settings(given: list[str]) -> dict[str, dict[str, Any]]:
    """`--set` in its parts: `serve` (no prefix), `plan` (threads, memory), `judge.` and `log.`."""
    from gatewise import monitor, serve

    kinds: dict[str, Any] = {"serve": serve.ServeSettings, "judge": monitor.LiveSettings, "log": monitor.LogSettings}
    found: dict[str, dict[str, Any]] = {"serve": {}, "plan": {}, "judge": {}, "log": {}}
    for each in given:
        key, equals, text = each.partition("=")
        if not equals:
            raise GatewiseError(f"--set takes KEY=VALUE, not {each!r}")
        part, dot, name = key.partition(".")
        if part in SHARED:
            found["plan"][key] = text
            continue
        if not dot:
            part, name = "serve", key
        if part not in kinds:
            raise unknown_name("setting", key, [*SHARED, *(field.name for field in fields(serve.ServeSettings))])
        known = {field.name: field.default for field in fields(kinds[part]) if field.default is not MISSING}
        if name not in known:
            raise unknown_name("setting", key, [name if part == "serve" else f"{part}.{name}" for name in known])
        found[part][name] = _value(key, text, known[name])
    return found


def _value(key: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise GatewiseError(f"{key} takes true or false, not {text!r}")
        return text.lower() == "true"
    if isinstance(default, tuple):
        return tuple(each.strip() for each in text.split(","))
    if isinstance(default, str):
        return text
    try:
        return int(text) if isinstance(default, int) else float(text)
    except ValueError:
        raise GatewiseError(f"{key} takes a number such as {default}, not {text!r}") from None


def resources(given: dict[str, str]) -> Any:
    """The plan that `threads=1 threads.v2=2 memory.v2=500MiB` states. Names without a label hold for every version."""
    from gatewise import serve

    labels = {key.partition(".")[2] for key in given} - {""}
    everyone: dict[str, Any] = {}
    if "threads" in given:
        everyone["threads"] = _count("threads", given["threads"])
    if "memory" in given:
        everyone["memory_bytes"] = _size("memory", given["memory"])
    shares: dict[str, Any] = {}
    for label in sorted(labels):
        own = dict(everyone)
        if f"threads.{label}" in given:
            own["threads"] = _count(f"threads.{label}", given[f"threads.{label}"])
        if f"memory.{label}" in given:
            own["memory_bytes"] = _size(f"memory.{label}", given[f"memory.{label}"])
        shares[label] = serve.Share(**own)
    return serve.ResourcePlan(shares=shares, others=serve.Share(**everyone))


def _count(key: str, text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 4096:
        raise GatewiseError(f"{key} takes a number of threads from 1 up, not {text!r}")
    return int(text)


def _size(key: str, text: str) -> int:
    lowered = text.strip().lower()
    for unit, factor in UNITS.items():
        number = lowered.removesuffix(unit).strip()
        if lowered.endswith(unit) and number.replace(".", "", 1).isdecimal():
            return int(float(number) * factor)
    raise GatewiseError(f"{key} takes a size such as 500MiB or 2GB, not {text!r}")
