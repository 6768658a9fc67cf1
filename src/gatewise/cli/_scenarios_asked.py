"""What `gatewise scenarios` was asked: settings, profiles, and every contradiction said before anything loads."""

import argparse
import math
import shlex
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, num_cores, unknown_name

SCENARIOS = ("server", "single-stream", "multi-stream", "offline")
PROFILES = ("edge", "cloud", "hybrid")
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
SETTINGS: dict[str, Any] = {
    "tokens": 32,
    "threads": 1,
    "max_wait": "0ms",
    "confidence": 0.95,
    "percentile": 0.99,
    "seed": 0,
    "memory_cap": "",
    "requests_per_month": 0.0,
    "peak_to_mean": 1.0,
    "currency": "USD",
    "out": "",
    "calibration": "",
}
HYBRID: dict[str, Any] = {
    "edge": "",
    "cloud_runtime": "eager",
    "edge_price_per_hour": 0.0,
    "network": "0ms",
    "margin": 0.02,
    "data": "",
    "text": "",
    "target": "",
}
"""Settings of the hybrid profile alone."""
TRAINING: dict[str, Any] = {"against": "", "training_hours": 0.0, "training_price_per_hour": 0.0}
"""Settings of the break-even alone."""
SERVED = ("percentile", "max_wait")
"""Settings of the server scenario alone."""
PRICED = ("requests_per_month", "peak_to_mean", "currency")
"""Settings of a cost alone."""
LARGEST = {"server": 256, "offline": 4096}
"""Of --batch. A server is called with every size up to it before anything is timed."""
HOURS_A_MONTH = 730.0
FLAGS = ("scenario", "p99", "runtime", "batch", "budget", "price_per_hour", "utilisation", "profile")


def asked(parsed: argparse.Namespace) -> dict[str, Any]:
    """What was asked, with the profile's settings filled in. Raises `GatewiseError` for what cannot be."""
    if not parsed.model.strip():
        raise GatewiseError("MODEL is empty: give a workload, a model folder, or package.module:function")
    given, settings = _settings(parsed.settings or [])
    profile: str | None = parsed.profile
    if profile is not None and profile not in PROFILES:
        raise unknown_name("profile", profile, PROFILES)
    for names, words in ((HYBRID, "--profile hybrid"), (TRAINING, "a break-even: --set against=RUNTIME_OR_MODEL")):
        alone = [key for key in names if key in given]
        if alone and not (profile == "hybrid" if names is HYBRID else settings["against"]):
            raise GatewiseError(f"{alone[0]} goes with {words}")
    scenario = parsed.scenario or {"edge": "single-stream", "hybrid": "hybrid"}.get(profile or "", "server")
    if parsed.scenario is not None and scenario not in SCENARIOS:
        raise unknown_name("scenario", scenario, SCENARIOS)
    batch = parsed.batch if parsed.batch is not None else 1
    if profile in ("edge", "hybrid") and batch != 1:
        raise GatewiseError(f"the {profile} profile answers one query at a time, batch 1; leave --batch out")
    if profile in ("cloud", "hybrid"):
        settings["threads"] = num_cores()
    if scenario == "server" and parsed.p99 is None:
        raise GatewiseError("the server scenario needs a limit: --p99 50ms")
    found = {
        "model": parsed.model,
        "scenario": scenario,
        "profile": profile,
        "runtime": parsed.runtime or "eager",
        "batch": batch,
        "find_batch": profile == "cloud"
        and parsed.batch is None
        and parsed.p99 is not None
        and scenario in ("server", "offline"),
        "p99_s": None if parsed.p99 is None else duration("--p99", parsed.p99),
        "budget_s": duration("--budget", parsed.budget or ("120s" if scenario == "server" else "60s")),
        "price_per_hour": parsed.price_per_hour,
        "utilisation": parsed.utilisation,
        **settings,
        "max_wait": duration("max_wait", settings["max_wait"]),
        "network": duration("network", settings["network"]),
    }
    _check_numbers(found)
    _check_price(found)
    _check_used(found, given, parsed)
    if profile == "hybrid":
        _check_hybrid(found, parsed)
    if settings["against"]:
        _check_payback(found)
    if settings["out"] and Path(settings["out"]).exists() and not Path(settings["out"]).is_dir():
        raise GatewiseError(f"out is a folder for the page, and {settings['out']} is a file")
    return found


def duration(name: str, text: str) -> float:
    """Seconds of a text such as 50ms, 60s or 2m. Raises `GatewiseError`."""
    number = text.strip().rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text.strip()[len(number) :]
    try:
        value = float(number) * UNITS[unit]
    except (KeyError, ValueError):
        raise GatewiseError(f"{name} is a time such as 50ms, 60s or 2m, not {text!r}") from None
    if not 0 <= value < math.inf:
        raise GatewiseError(f"{name} must be 0 or more, not {text!r}")
    return value


def pricing(asked: dict[str, Any], capacity: float) -> Any:
    """Without a number of requests the traffic is what one machine answers at this utilisation, all month."""
    from gatewise.scenarios import Pricing, Shape

    shape = Shape(peak_to_mean=asked["peak_to_mean"])
    one = capacity * (asked["utilisation"] or 0.0) / shape.peak_to_mean * HOURS_A_MONTH * 3600
    return Pricing(
        price_per_hour=asked["price_per_hour"],
        utilisation=asked["utilisation"],
        requests_per_month=asked["requests_per_month"] or max(one, 1e-9),
        shape=shape,
        currency=asked["currency"],
    )


def size(text: str) -> int | None:
    """Bytes of a text such as 512MB; None of an empty one. Raises `GatewiseError`."""
    if not text:
        return None
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("GiB", 2**30), ("MiB", 2**20)):
        if text.endswith(unit) and text.removesuffix(unit).strip().replace(".", "", 1).isdecimal():
            return int(float(text.removesuffix(unit)) * factor)
    raise GatewiseError(f"memory_cap is a size such as 512MB or 2GiB, not {text!r}")


def replay(parsed: argparse.Namespace) -> str:
    """The command that asks the same again."""
    words = ["gatewise", "scenarios", parsed.model]
    for name in FLAGS:
        value = getattr(parsed, name)
        words += [f"--{name.replace('_', '-')}", str(value)] if value is not None else []
    for setting in parsed.settings or []:
        words += ["--set", setting]
    return shlex.join(words)


def _settings(given: list[str]) -> tuple[set[str], dict[str, Any]]:
    found = SETTINGS | HYBRID | TRAINING
    named: set[str] = set()
    for each in given:
        key, equals, text = each.partition("=")
        if not equals:
            raise GatewiseError(f"--set takes KEY=VALUE, not {each!r}")
        if key not in found:
            raise unknown_name("setting", key, found)
        kind = type((SETTINGS | HYBRID | TRAINING)[key])
        try:
            found[key] = kind(text)
        except ValueError:
            raise GatewiseError(f"{key} takes a number such as {found[key]}, not {text!r}") from None
        named.add(key)
    return named, found


def _check_numbers(found: dict[str, Any]) -> None:
    for name, key in (("--p99", "p99_s"), ("--budget", "budget_s")):
        if found[key] == 0:
            raise GatewiseError(f"{name} must be above 0")
    for key in ("percentile", "confidence"):
        if not 0 < found[key] < 1:
            raise GatewiseError(f"{key} must lie between 0 and 1, not {found[key]!r}")
    most = LARGEST.get(found["scenario"])
    if most is not None and found["batch"] > most:
        raise GatewiseError(f"--batch is at most {most:,} in the {found['scenario']} scenario, not {found['batch']:,}")


def _check_used(found: dict[str, Any], given: set[str], parsed: argparse.Namespace) -> None:
    """Refuse what would be taken and then not looked at."""
    scenario = found["scenario"]
    for keys, goes, words in (
        (SERVED, scenario == "server", "--scenario server"),
        (PRICED, found["price_per_hour"] is not None, "--price-per-hour and --utilisation"),
        (("memory_cap",), found["profile"] == "edge", "--profile edge"),
    ):
        alone = [key for key in keys if key in given]
        if alone and not goes:
            raise GatewiseError(f"{alone[0]} goes with {words}")
    if scenario in ("single-stream", "multi-stream") and parsed.batch is not None and found["profile"] is None:
        samples = 8 if scenario == "multi-stream" else 1
        if parsed.batch != samples:
            raise GatewiseError(f"a query of the {scenario} scenario is {samples} samples; leave --batch out")
    if parsed.p99 is not None and scenario != "server" and found["profile"] not in ("cloud", "hybrid"):
        raise GatewiseError("--p99 goes with --scenario server, or with --profile cloud, whose batch keeps it")


def _check_price(found: dict[str, Any]) -> None:
    if found["utilisation"] is not None and found["price_per_hour"] is None:
        raise GatewiseError("--utilisation without --price-per-hour has nothing to price")
    if found["price_per_hour"] is None:
        return
    pricing(found, 1.0)
    if found["scenario"] not in ("server", "offline", "hybrid"):
        raise GatewiseError(f"a cost needs a capacity: --scenario server or offline, not {found['scenario']}")


def _check_hybrid(found: dict[str, Any], parsed: argparse.Namespace) -> None:
    if parsed.scenario is not None or parsed.p99 is not None:
        raise GatewiseError(
            "the hybrid profile has its own load: every labelled item once; leave --scenario, --p99 out"
        )
    if found["price_per_hour"] is None:
        raise GatewiseError("the hybrid profile weighs quality against cost: give --price-per-hour and --utilisation")
    if parsed.runtime is None and not found["edge"]:
        raise GatewiseError(
            "the hybrid profile takes two versions: a smaller one answers first"
            "\ngive its runtime (--runtime onnxruntime-int8) or another model (--set edge=FOLDER_OR_FUNCTION)"
        )


def _check_payback(found: dict[str, Any]) -> None:
    if found["scenario"] != "offline" or found["find_batch"]:
        raise GatewiseError("a break-even compares two capacities in the same batch: --scenario offline --batch N")
    if found["price_per_hour"] is None:
        raise GatewiseError("a break-even needs what a request costs: give --price-per-hour and --utilisation")
    for key in TRAINING:
        if not found[key]:
            raise GatewiseError(f"a break-even needs --set {key}=, above 0")
        if key != "against" and not 0 < found[key] < math.inf:
            raise GatewiseError(f"{key} must be a number above 0, not {found[key]!r}")
