"""`gatewise proxy`: watch a server that already runs, and judge a second one beside it."""

import argparse
import sys
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, unknown_name


def run(parsed: argparse.Namespace) -> int:
    """Pass on and record until SIGTERM or SIGINT; 0 then."""
    from gatewise import monitor, serve

    given = settings(parsed.settings)
    upstream = serve.Upstream(live=parsed.url, shadow=parsed.shadow or "", **given["upstream"])
    plan = serve.Watched(**given["watched"])
    with ExitStack() as stack:
        log = stack.enter_context(monitor.Log(parsed.record))
        judge = monitor.LiveJudge(monitor.LiveSettings(folder=parsed.record))
        notifier = monitor.Notifier([monitor.LogFile(Path(parsed.record) / "alarms.jsonl")])
        stack.callback(notifier.close)

        def alarmed(alarm: monitor.Alarm) -> None:
            if notifier.send(alarm):
                print(f"gatewise: {alarm.severity}: {alarm.summary}", file=sys.stderr)

        watching = serve.Watching(journal=log, judges=[judge], alarmed=alarmed)
        stack.callback(watching.close)
        proxy = serve.Proxy(upstream, plan, watching.watch, label=watching.label)
        beside = f", with {parsed.shadow} as shadow" if parsed.shadow else ""
        serve.listen(
            proxy,
            host=parsed.host,
            port=parsed.port,
            started=lambda address: print(f"{address}  watching {parsed.url}{beside}", flush=True),
        )
    return 0


def settings(given: list[str]) -> dict[str, dict[str, Any]]:
    """`--set` in its parts: of the servers behind (`share`, `timeout_s`, ...), and of what is watched (`path`, ...)."""
    from gatewise import serve

    kinds: dict[str, Any] = {"upstream": serve.Upstream, "watched": serve.Watched}
    known = {
        field.name: (part, field.default)
        for part, kind in kinds.items()
        for field in fields(kind)
        if field.name not in ("live", "shadow")
    }
    found: dict[str, dict[str, Any]] = {part: {} for part in kinds}
    for each in given:
        key, equals, text = each.partition("=")
        if not equals:
            raise GatewiseError(f"--set takes KEY=VALUE, not {each!r}")
        if key not in known:
            raise unknown_name("setting", key, known)
        part, default = known[key]
        found[part][key] = _value(key, text, default)
    return found


def _value(key: str, text: str, default: Any) -> Any:
    if isinstance(default, bool):
        if text not in ("true", "false"):
            raise GatewiseError(f"{key} takes true or false, not {text!r}")
        return text == "true"
    if isinstance(default, str):
        return text
    try:
        return type(default)(text)
    except ValueError:
        raise GatewiseError(f"{key} takes a number such as {default}, not {text!r}") from None
