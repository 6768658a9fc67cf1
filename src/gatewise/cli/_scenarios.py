"""`gatewise scenarios`: latency, throughput, the highest rate that holds, the edge profile, and what it costs."""

import argparse
import json
import math
import sys
from dataclasses import asdict
from typing import Any

from gatewise.core import GatewiseError, num_cores, unknown_name

SCHEMA = "gatewise.scenarios/1"
SCENARIOS = ("server", "single-stream", "multi-stream", "offline")
PROFILES = ("edge", "cloud")
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
}
HOURS_A_MONTH = 730.0
CLOUD_BATCHES = (1, 2, 4, 8, 16)
CLOUD_SHARE = 0.2
"""Of the budget, for trying batches where the cloud profile is to find its own."""


def run(parsed: argparse.Namespace) -> int:
    """Measure what was asked and print it. 0 whatever came out, `undecided` included."""
    asked = _asked(parsed)
    document = _measure(asked)
    if parsed.json:
        print(json.dumps(_finite(document), allow_nan=False))
        return 0
    for line in _lines(document):
        print(line)
    return 0


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


def _settings(given: list[str]) -> dict[str, Any]:
    found = dict(SETTINGS)
    for each in given:
        key, equals, text = each.partition("=")
        if not equals:
            raise GatewiseError(f"--set takes KEY=VALUE, not {each!r}")
        if key not in SETTINGS:
            raise unknown_name("setting", key, SETTINGS)
        kind = type(SETTINGS[key])
        try:
            found[key] = kind(text)
        except ValueError:
            raise GatewiseError(f"{key} takes a number such as {SETTINGS[key]}, not {text!r}") from None
    return found


def _asked(parsed: argparse.Namespace) -> dict[str, Any]:
    """What was asked, with the profile's settings filled in; every contradiction is said before anything loads."""
    settings = _settings(parsed.settings or [])
    if parsed.profile is not None and parsed.profile not in PROFILES:
        raise unknown_name("profile", parsed.profile, PROFILES)
    scenario = parsed.scenario or ("single-stream" if parsed.profile == "edge" else "server")
    if scenario not in SCENARIOS:
        raise unknown_name("scenario", scenario, SCENARIOS)
    batch = parsed.batch if parsed.batch is not None else 1
    tries = parsed.profile == "cloud" and parsed.batch is None and parsed.p99 is not None
    if parsed.profile == "edge" and batch != 1:
        raise GatewiseError("the edge profile is one thread and batch 1; leave --batch out")
    if parsed.profile == "cloud":
        settings["threads"] = num_cores()
    if scenario == "server" and parsed.p99 is None:
        raise GatewiseError("the server scenario needs a limit: --p99 50ms")
    if parsed.utilisation is not None and parsed.price_per_hour is None:
        raise GatewiseError("--utilisation without --price-per-hour has nothing to price")
    if parsed.price_per_hour is not None:
        _pricing(parsed.price_per_hour, parsed.utilisation, settings, 1.0)
        if scenario not in ("server", "offline"):
            raise GatewiseError(f"a cost needs a capacity: --scenario server or offline, not {scenario}")
    return {
        "model": parsed.model,
        "scenario": scenario,
        "profile": parsed.profile,
        "runtime": parsed.runtime or "eager",
        "batch": batch,
        "find_batch": tries and scenario in ("server", "offline"),
        "p99_s": None if parsed.p99 is None else duration("--p99", parsed.p99),
        "budget_s": duration("--budget", parsed.budget or "60s"),
        "price_per_hour": parsed.price_per_hour,
        "utilisation": parsed.utilisation,
        **settings,
        "max_wait": duration("max_wait", settings["max_wait"]),
    }


def _pricing(price: float, utilisation: float | None, settings: dict[str, Any], capacity: float) -> Any:
    """Without a number of requests the traffic is what one machine answers at this utilisation, all month."""
    from gatewise.scenarios import Pricing, Shape

    shape = Shape(peak_to_mean=settings["peak_to_mean"])
    one = capacity * (utilisation or 0.0) / shape.peak_to_mean * HOURS_A_MONTH * 3600
    return Pricing(
        price_per_hour=price,
        utilisation=utilisation,
        requests_per_month=settings["requests_per_month"] or max(one, 1e-9),
        shape=shape,
        currency=settings["currency"],
    )


def _measure(asked: dict[str, Any]) -> dict[str, Any]:
    from gatewise import scenarios

    largest = CLOUD_BATCHES[-1] if asked["find_batch"] else asked["batch"]
    plan = scenarios.SubjectPlan(
        model=asked["model"],
        runtime=asked["runtime"],
        threads=asked["threads"],
        tokens=asked["tokens"],
        max_batch=8 if asked["scenario"] == "multi-stream" else largest,
        seed=asked["seed"],
    )
    document: dict[str, Any] = {"schema": SCHEMA, "asked": asked, "edge": None, "batches": None, "cost": None}
    if asked["profile"] == "edge":
        print("starting the model in fresh processes", file=sys.stderr)
        cap = _bytes(asked["memory_cap"])
        document["edge"] = asdict(scenarios.edge_profile(plan, cap_bytes=cap))
    print("loading and warming up", file=sys.stderr)
    subject = scenarios.load_subject(plan)
    document |= {"implementation": subject.implementation, "notes": list(subject.notes)}
    print(f"measuring for about {asked['budget_s']:.0f} s", file=sys.stderr)
    if asked["find_batch"]:
        effort = scenarios.Effort(seconds=CLOUD_SHARE * asked["budget_s"])
        choice = scenarios.best_batch(subject.call, CLOUD_BATCHES, limit_s=asked["p99_s"], effort=effort)
        document["batches"] = asdict(choice)
        asked["batch"] = choice.best.batch if choice.best else 1
        asked["budget_s"] *= 1 - CLOUD_SHARE
    found = _scenario(asked, subject.call)
    document["result"] = asdict(found)
    if asked["price_per_hour"] is not None:
        document["cost"] = _cost(asked, found)
    return document


def _scenario(asked: dict[str, Any], call: Any) -> Any:
    from gatewise import scenarios

    effort = scenarios.Effort(seconds=asked["budget_s"])
    if asked["scenario"] == "single-stream":
        return scenarios.single_stream(call, effort=effort, confidence=asked["confidence"])
    if asked["scenario"] == "multi-stream":
        return scenarios.multi_stream(call, effort=effort, confidence=asked["confidence"])
    if asked["scenario"] == "offline":
        return scenarios.offline(call, batch=asked["batch"], effort=effort, confidence=asked["confidence"])
    goal = scenarios.ServerGoal(
        limit_s=asked["p99_s"],
        percentile=asked["percentile"],
        confidence=asked["confidence"],
        batching=scenarios.Batching(max_batch=asked["batch"], max_wait_s=asked["max_wait"]),
        budget_s=asked["budget_s"],
        seed=asked["seed"],
    )
    spare = num_cores() > asked["threads"]

    def outside(traffic: scenarios.Traffic) -> scenarios.Run:
        return scenarios.outside_loop(call, traffic, batching=goal.batching, give_up_s=20 * goal.limit_s, spin=spare)

    return scenarios.highest_rate(call, goal, outside=outside)


def _cost(asked: dict[str, Any], found: Any) -> dict[str, Any]:
    from gatewise import scenarios

    server = asked["scenario"] == "server"
    value = found.rate if server else found.samples_per_s
    if value is None:
        return {"reason": "no cost: no rate was confirmed"}
    interval = None if server else found.interval
    limit = f", p{100 * asked['percentile']:g} <= {1e3 * asked['p99_s']:g} ms" if server else ""
    capacity = scenarios.Capacity(samples_per_s=value, interval=interval, source=f"{asked['scenario']}{limit}")
    priced = scenarios.cost(capacity, _pricing(asked["price_per_hour"], asked["utilisation"], asked, value))
    return asdict(priced) | {"whole_fleet": bool(asked["requests_per_month"])}


def _bytes(text: str) -> int | None:
    if not text:
        return None
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("GiB", 2**30), ("MiB", 2**20)):
        if text.endswith(unit) and text.removesuffix(unit).strip().replace(".", "", 1).isdecimal():
            return int(float(text.removesuffix(unit)) * factor)
    raise GatewiseError(f"memory_cap is a size such as 512MB or 2GiB, not {text!r}")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _ms(seconds: float | None) -> str:
    return "?" if seconds is None else f"{1e3 * seconds:.3g} ms"


def _percentile_line(each: dict[str, Any]) -> str:
    low, high = each["low_s"], each["high_s"]
    open_end = f"; a closed interval takes {each['needs']} queries" if each["needs"] is not None else ""
    interval = f"{_ms(low)} – {_ms(high)}"
    return f"p{100 * each['percentile']:g} {_ms(each['value_s'])} (interval {interval}, n = {each['n']:,}{open_end})"


def _lines(document: dict[str, Any]) -> list[str]:
    """The terminal's lines: the answer first, then its evidence, then money."""
    asked, found = document["asked"], document["result"]
    threads = f"{asked['threads']} thread{'s' if asked['threads'] > 1 else ''}"
    lines = [f"{asked['model']} on {document['implementation']}, {threads}, {asked['tokens']} tokens"]
    if document["batches"]:
        tried = ", ".join(
            f"{each['batch']}: {each['samples_per_s']:.4g}/s{'' if each['keeps'] else ' (over the limit)'}"
            for each in document["batches"]["trials"]
        )
        lines.append(f"Batch {asked['batch']}, the fastest whose calls keep the limit ({tried})")
    if asked["scenario"] == "server":
        lines += _server_lines(asked, found)
    elif asked["scenario"] == "offline":
        spread = (
            "no interval: " + found["reason"]
            if found["interval"] is None
            else "interval {:.4g} – {:.4g}".format(*found["interval"])
        )
        lines.append(f"Offline: {found['samples_per_s']:.4g} samples/s in batches of {found['batch']} ({spread})")
    else:
        lines.append(f"{found['scenario']}: {found['queries']:,} queries of {found['samples']}, one after the other")
        lines += [f"  {_percentile_line(each)}" for each in found["percentiles"]]
    if document["edge"]:
        lines += _edge_lines(document["edge"])
    return lines + (_cost_lines(document["cost"]) if document["cost"] else [])


def _server_lines(asked: dict[str, Any], found: dict[str, Any]) -> list[str]:
    limit = f"p{100 * asked['percentile']:g} of at most {_ms(asked['p99_s'])}"
    evidence, latency = found["evidence"], found["latency"]
    if found["verdict"] == "holds":
        lines = [f"Server: {found['rate']:.4g} queries/s hold with {limit}"]
    elif found["verdict"] == "fails":
        lines = [f"Server: no rate holds with {limit}: {found['reason']}"]
    else:
        lines = [f"Server: undecided, no rate was confirmed with {limit}: {found['reason']}"]
    if evidence:
        allowed = "" if evidence["allowed"] is None else f" ({evidence['allowed']:,} allowed)"
        lines.append(f"  evidence: {evidence['n']:,} queries, {evidence['over']:,} over the limit{allowed}")
        if evidence["needs"]:
            lines.append(f"  it would take about {evidence['needs']:,} queries: a longer --budget")
    if latency:
        lines.append(f"  {_percentile_line(latency)}")
    if found["full_queries"]:
        lines.append(
            f"  by the rule for independent queries; slow ones come in clumps here, and to count those takes "
            f"about {found['full_queries']:,} queries"
        )
    if found["edge"]:
        fails = f"; shown to fail at {found['fails_at']:.4g}" if found["fails_at"] else ""
        lines.append(f"  the limit itself is met at about {found['edge']:.4g} queries/s (estimate){fails}")
    return lines


def _edge_lines(edge: dict[str, Any]) -> list[str]:
    size = "no file" if edge["size_bytes"] is None else f"{edge['size_bytes'] / 1e6:.1f} MB ({edge['size_of']})"
    cap = ""
    if edge["cap_bytes"] is not None:
        cap = f", {'within' if edge['within_cap'] else 'OVER'} the cap of {edge['cap_bytes'] / 1e6:.0f} MB"
    return [
        f"Edge: cold start {_ms(edge['cold_start']['value_s'])} (median of {edge['cold_start']['n']} processes, "
        f"{_ms(edge['cold_start']['low_s'])} – {_ms(edge['cold_start']['high_s'])}), of it loading "
        f"{_ms(edge['load']['value_s'])}",
        f"  peak memory {edge['peak_bytes'] / 1e6:.0f} MB{cap}; size {size}",
        f"  {edge['note']}",
    ]


def _cost_lines(cost: dict[str, Any]) -> list[str]:
    if "reason" in cost:
        return [cost["reason"]]
    pricing = cost["pricing"]

    def money(amount: dict[str, Any]) -> str:
        text = f"{amount['value']:.4g} {pricing['currency']}"
        return text if amount["interval"] is None else text + " ({:.4g} – {:.4g})".format(*amount["interval"])

    stated = f"{pricing['price_per_hour']:g} an hour, loaded to {100 * pricing['utilisation']:g} % at the peak"
    lines = [f"Cost at {stated}: {money(cost['per_million'])} a million requests"]
    if cost["whole_fleet"]:
        many = f"{cost['machines']} machine{'s' if cost['machines'] > 1 else ''}"
        lines.append(f"  {many}, {money(cost['per_month'])} a month; {money(cost['per_request'])} a request")
    else:
        lines.append("  one machine with as many requests as that allows; --set requests_per_month=N for your traffic")
    return lines
