"""`gatewise serve`: versions of a registered model behind HTTP, recorded and judged."""

import argparse
import json
import sys
from contextlib import ExitStack
from typing import Any

from ._serve_settings import Asked, asked, resources, share
from ._serve_watch import Watched


def run(parsed: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 0 then."""
    from gatewise.versions import Registry

    found = asked(parsed.settings)
    plan = resources(found.plan)
    for line in plan.check():
        print(f"gatewise: {line}", file=sys.stderr)
    registry = Registry(parsed.registry)
    with ExitStack() as stack:
        watched = Watched(found, parsed.record, registry, stack)
        _serve(parsed, found, registry, watched, stack)
    return 0


def _serve(parsed: argparse.Namespace, found: Asked, registry: Any, watched: Watched, stack: ExitStack) -> None:
    from gatewise import serve

    plan = resources(found.plan)
    follower = serve.Follower(
        registry,
        parsed.model,
        shares=serve.Shares(canary=share("--canary", parsed.canary), shadow=share("--shadow", parsed.shadow)),
        plan=plan,
        wrap=watched.wrap,
    )
    watched.refer(follower.routes)
    watched.keep(follower.routes, plan, parsed.registry)
    application = serve.app(
        [follower.routes],
        serve.ServeSettings(**found.parts["serve"]),
        watch=watched.watching.watch,
        label=watched.watching.label,
        metrics=lambda accept: watched.gauges.scraped(application, accept),
        refresh=lambda: follower.refresh(application),
    )

    def changed(routes: serve.Routes) -> None:
        print(f"gatewise: {_versions(routes)}", file=sys.stderr, flush=True)
        watched.keep(routes, plan, parsed.registry)

    follower.start(application, changed=changed)
    stack.callback(follower.stop)
    watched.gauges.start()
    serve.run(
        application,
        host=parsed.host,
        port=parsed.port,
        started=lambda address: _started(parsed, address, follower.routes),
    )


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
