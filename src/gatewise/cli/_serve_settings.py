"""`--set` of `gatewise serve`, in its parts."""

from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from gatewise.core import GatewiseError, num_cores, unknown_name

BINARY = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
UNITS = {**BINARY, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "B": 1}
SHARED = ("threads", "memory")
PER_VERSION = (*SHARED, "reference")
MACHINE = ("cores", "price_per_hour", "currency", "idle")
ALONE = ("learn_reference", "learn_estimate", "webhook", "rollback", "health", "beside", *MACHINE)


@dataclass(kw_only=True)
class Asked:
    """What was asked for.

    Attributes:
        parts: fields by prefix: `serve` (no prefix), `judge`, `log`, `drift`, `errors`, `health`, `rollback`.
        plan: `threads` and `memory`, as given. `references`: files by version, "" for the one that is live.
        machine: of `monitor.Machine`. `rollback_on`: kinds of alarms that are acted on.
        beside: whether copies of live run beside a shadow and a canary, so that times may be compared.
    """

    parts: dict[str, dict[str, Any]]
    plan: dict[str, str] = field(default_factory=dict[str, str])
    references: dict[str, str] = field(default_factory=dict[str, str])
    machine: dict[str, Any] = field(default_factory=dict[str, Any])
    learn_reference: int = 0
    learn_estimate: int = 0
    webhook: str | None = None
    rollback_on: tuple[str, ...] = ()
    health: bool = True
    beside: bool = True


def asked(given: Iterable[str]) -> Asked:
    """Every `--set`. Raises `GatewiseError` for a name that nobody knows and for a value that cannot be."""
    known = _known()
    found = Asked(parts={name: {} for name in known}, machine={"cores": num_cores()})
    for each in given:
        key, equals, text = each.partition("=")
        if not equals:
            raise GatewiseError(f"--set takes KEY=VALUE, not {each!r}")
        part, dot, name = key.partition(".")
        if part in SHARED:
            found.plan[key] = text
        elif part == "reference":
            found.references[name] = text
        elif not dot and part in ALONE:
            _alone(found, key, text)
        else:
            part, name = (part, name) if dot and part != "serve" else ("serve", key)
            if name not in known.get(part, {}):
                raise _unknown(key, part, known)
            found.parts[part][name] = _value(key, text, known[part][name])
    return found


def _unknown(key: str, part: str, known: dict[str, dict[str, Any]]) -> GatewiseError:
    """The nearest of all names, then those of the prefix that was given, or the prefixes beside the names without."""
    if part in known and part != "serve":
        return unknown_name("setting", key, [f"{part}.{at}" for at in known[part]])
    alone = [*PER_VERSION, *ALONE, *known["serve"]]
    prefixes = {each: list(names) for each, names in known.items() if each != "serve"}
    every = [*alone, *(f"{each}.{name}" for each, names in prefixes.items() for name in names)]
    nearest = str(unknown_name("setting", key, every)).partition("\n")[0]
    before = ", ".join(f"{each}. ({each}.{names[0]})" for each, names in prefixes.items())
    return GatewiseError(f"{nearest}\nvalid: {', '.join(sorted(alone))}\nand with a prefix: {before}")


def _known() -> dict[str, dict[str, Any]]:
    """Every field with its default, by prefix."""
    from gatewise import monitor, serve

    kinds: dict[str, Any] = {
        "serve": serve.ServeSettings,
        "judge": monitor.LiveSettings,
        "log": monitor.LogSettings,
        "drift": monitor.DriftSettings,
        "errors": monitor.ErrorSettings,
        "health": monitor.HealthSettings,
    }
    found = {
        part: {each.name: each.default for each in fields(kind) if each.default is not MISSING}
        for part, kind in kinds.items()
    }
    found["judge"] |= {"one_in": "year", "requests_per_s": 1.0, "share": 1.0, "started": 1}  # a rate in people's words
    del found["judge"]["folder"]
    found["rollback"] = {"cool_down_s": 900.0, "most_per_hour": 2}
    return found


def _alone(found: Asked, key: str, text: str) -> None:
    from gatewise import serve

    if key in ("learn_reference", "learn_estimate", "cores"):
        number = _value(key, text, 1)
        if key == "cores":
            found.machine["cores"] = number
        else:
            setattr(found, key, number)
    elif key == "price_per_hour":
        found.machine[key] = _value(key, text, 0.2)
    elif key in MACHINE:
        found.machine[key] = text
    elif key == "webhook":
        found.webhook = text
    elif key == "rollback":
        kinds = tuple(each.strip() for each in text.split(","))
        found.rollback_on = () if kinds == ("none",) else serve.check_kinds(kinds)
    else:
        setattr(found, key, _value(key, text, True))


def unused(found: Asked, model: str, known: Sequence[str], pointed_at: Iterable[str | None]) -> list[str]:
    """A line for each setting of a version that no alias of the model points at: it changes nothing now."""
    given = [(key, key.partition(".")[2]) for key in found.plan]
    given += [(f"reference.{label}", label) for label in found.references]
    used, lines = set(pointed_at), list[str]()
    for key, label in given:
        if not label or label in used:
            continue
        if label not in known:
            lines.append(f"--set {key}: {model} has no version {label!r} (it has: {', '.join(known)})")
        else:
            lines.append(f"--set {key}: no alias of {model} points at {label} now; it counts once one does")
    return lines


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
        raise GatewiseError(f"{key} takes a number such as {default or 1}, not {text!r}") from None


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
        number = lowered.removesuffix(unit.lower()).strip()
        if lowered.endswith(unit.lower()) and len(number) < 20 and number.replace(".", "", 1).isdecimal():
            return int(float(number) * factor)
    raise GatewiseError(f"{key} takes a size such as 500MiB or 2GB, not {text!r}\nunits: {', '.join(UNITS)}")
