"""`gatewise register`, `promote`, `rollback` and `versions`: what is deployed, under which name, and since when."""

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError

if TYPE_CHECKING:
    from gatewise.versions import Alias, Registry, Version

DONE = 0
SCHEMA = "gatewise.versions/1"


def run(parsed: argparse.Namespace) -> int:
    """One of the four. Bad input and lost races are `GatewiseError`s."""
    from gatewise.versions import Registry

    registry = Registry(parsed.registry, create=parsed.command == "register")
    if parsed.command == "register":
        _register(registry, parsed)
    elif parsed.command == "versions":
        _versions(registry, parsed)
    else:
        _move(registry, parsed)
    return DONE


def _register(registry: "Registry", parsed: argparse.Namespace) -> None:
    from gatewise.versions import Registration, register

    settings = _settings(parsed.settings)
    asked = Registration(
        target=parsed.target,
        model=parsed.model,
        version=parsed.version,
        runtime=parsed.runtime,
        precision=parsed.precision,
        threads=parsed.threads,
        study=parsed.study,
        tokens=settings.pop("tokens", 16),
        calibration=str(settings.pop("calibration", "")),
        options=settings,
    )
    version = register(registry, asked)
    if parsed.json:
        print(json.dumps({"schema": SCHEMA, "registered": version.to_json()}, allow_nan=False))
        return
    print(f"registered: {version.model} {version.version} as {version.digest[:12]}, on {_engine(version)}")
    for name, count in _functions(version).items():
        print(f"  {name} at {count} {'site' if count == 1 else 'sites'}")
    for note in version.manifest["notes"]:
        print(f"  note: {note}")


def _move(registry: "Registry", parsed: argparse.Namespace) -> None:
    before = registry.alias(parsed.model, parsed.to)
    settings = {"expect": parsed.expect, "because": parsed.because}
    if parsed.command == "promote":
        after = registry.promote(parsed.model, parsed.version, parsed.to, **settings)
    else:
        after = registry.rollback(parsed.model, parsed.to, **settings)
    if parsed.json:
        print(json.dumps({"schema": SCHEMA, "alias": after.to_json()}, allow_nan=False))
    elif after.revision == before.revision:
        print(f"{after.alias} of {after.model} is {_where(after)} already; nothing moved")
    else:
        move = registry.history(parsed.model, parsed.to)[after.revision - 1]
        was = f", was {move.before}" if move.before else ""
        print(f"{after.alias} of {after.model} is {_where(after)} now{was} (revision {after.revision})")


def _versions(registry: "Registry", parsed: argparse.Namespace) -> None:
    models = [parsed.model] if parsed.model else registry.models()
    if parsed.json:
        print(json.dumps({"schema": SCHEMA, "models": [_document(registry, model) for model in models]}))
        return
    if not models:
        print(f"{parsed.registry}: no versions yet")
    for model in models:
        for line in _lines(registry, model, history=parsed.model is not None):
            print(line)


def _document(registry: "Registry", model: str) -> dict[str, Any]:
    aliases = registry.aliases(model)
    return {
        "model": model,
        "versions": [version.to_json() for version in registry.versions(model)],
        "aliases": {name: alias.to_json() for name, alias in aliases.items()},
        "history": {name: [move.to_json() for move in registry.history(model, name)] for name in aliases},
    }


def _lines(registry: "Registry", model: str, *, history: bool) -> Iterator[str]:
    aliases = registry.aliases(model)
    known = registry.versions(model)
    yield f"{model}: {len(known)} {'version' if len(known) == 1 else 'versions'}"
    widest = max(len(version.version) for version in known)
    for version in known:
        names = ", ".join(name for name, alias in aliases.items() if alias.version == version.version)
        functions = ", ".join(_functions(version)) or "no activation"
        line = f"  {version.version:<{widest}}  {names:<6}  {version.digest[:12]}  {_engine(version)}  {functions}"
        yield f"{line}  {version.registered[:10]}"
        if history and version.study is not None:
            yield f"  {'':<{widest}}  study: {version.study['headline']}"
    for name in aliases if history else ():
        for move in registry.history(model, name):
            why = f": {move.because}" if move.because else ""
            way = f"{move.before or 'none'} -> {move.after or 'none'}"
            yield f"  {name} {move.revision}  {move.kind} {way}  {move.at[:19]} by {move.by}{why}"


def _where(alias: "Alias") -> str:
    return alias.version or "empty"


def _engine(version: "Version") -> str:
    manifest = version.manifest
    words = [
        manifest["runtime"],
        manifest["precision"],
        f"{version.threads} thread{'s' if version.threads > 1 else ''}",
    ]
    return " ".join(word for word in words if word)


def _functions(version: "Version") -> dict[str, int]:
    """The functions of its sites, with how often each stands in it."""
    found: dict[str, int] = {}
    for site in version.manifest["identity"]:
        name = site["identity"] or f"none (nearest {site['nearest']})"
        found[name] = found.get(name, 0) + 1
    return found


def _settings(given: list[str]) -> dict[str, Any]:
    """KEY=VALUE as numbers, true or false where they are such, else as text."""
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise GatewiseError(f"--set takes KEY=VALUE, not {text!r}")
        if key in found:
            raise GatewiseError(f"--set {key} was given twice")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found
