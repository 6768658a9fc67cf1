"""`gatewise serve`: versions of a registered model behind HTTP, recorded and judged."""

import argparse
import json
import sys
from contextlib import ExitStack
from typing import Any

from gatewise.core import GatewiseError

from ._serve_settings import Asked, asked, resources, share, unused
from ._serve_watch import Watched


def run(parsed: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 0 then."""
    from gatewise.versions import Registry

    found = asked(parsed.settings)
    registry = Registry(parsed.registry)
    for line in _planned(found, registry, parsed.model):
        print(f"gatewise: {line}", file=sys.stderr)
    with ExitStack() as stack:
        watched = Watched(found, parsed.record, registry, stack)
        _serve(parsed, found, registry, watched, stack)
    return 0


def _planned(found: Asked, registry: Any, model: str) -> list[str]:
    """What to say of the plan before anything is loaded. Raises `GatewiseError` where it cannot be, or for no model."""
    from gatewise import serve

    plan = resources(found.plan)
    known = [each.version for each in registry.versions(model)]
    pointed_at = [each.version for each in registry.aliases(model).values()]
    lines = unused(found, model, known, pointed_at)
    if found.plan:  # of the others nothing was said that could be wrong
        shares = {label: plan.share(label) for label in pointed_at if label is not None}
        lines += serve.ResourcePlan(shares=shares, others=plan.others, spare_bytes=plan.spare_bytes).check()
    return lines


def _serve(parsed: argparse.Namespace, found: Asked, registry: Any, watched: Watched, stack: ExitStack) -> None:
    from gatewise import serve

    plan = resources(found.plan)
    shares = serve.Shares(
        canary=share("--canary", parsed.canary), shadow=share("--shadow", parsed.shadow), beside=found.beside
    )
    follower = serve.Follower(
        registry,
        parsed.model,
        shares=shares,
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
        metrics=lambda accept: watched.gauges.scraped(application, accept, followed(registry, follower, application)),
        refresh=lambda: follower.refresh(application) and changed(follower.routes),
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


def followed(registry: Any, follower: Any, application: Any) -> dict[tuple[str, str, str], bool]:
    """Whether the version that an alias points at is the one that is served, by model, alias and version."""
    found: dict[tuple[str, str, str], bool] = {}
    for model in application.stats()["models"]:
        name = str(model["model"])
        served = {each["role"]: each["version"] for each in model["versions"]}
        wanted: dict[str, str | None] = dict(served)
        if follower.problem is not None:
            try:
                wanted = {alias: each.version for alias, each in registry.aliases(name).items()}
            except GatewiseError:  # it cannot be read: nothing is followed
                found |= {(name, alias, version): False for alias, version in served.items()}
                continue
        for alias, version in wanted.items():
            label = version or served.get(alias)
            if label is not None:
                found[name, alias, label] = version == served.get(alias)
    return found


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
