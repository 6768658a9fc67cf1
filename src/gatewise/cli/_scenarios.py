"""`gatewise scenarios`: latency, throughput, the highest rate that holds, profiles, and what it costs."""

import argparse
import json
import math
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gatewise.core import environment, num_cores, unknown_name

from . import _scenarios_asked as ask
from ._scenarios_lines import lines

SCHEMA = "gatewise.scenarios/1"
CLOUD_BATCHES = (1, 2, 4, 8, 16)
CLOUD_SHARE = 0.2
"""Of the budget, for trying batches where the cloud profile is to find its own."""


def run(parsed: argparse.Namespace) -> int:
    """Measure what was asked and print it. 0 whatever came out, `undecided` included."""
    asked = ask.asked(parsed)
    started = datetime.now(UTC)
    found = dict.fromkeys(("result", "edge", "batches", "cost", "hybrid", "break_even"))
    document: dict[str, Any] = {"schema": SCHEMA, "asked": asked, **found, "implementation": "", "notes": []}
    (_hybrid if asked["profile"] == "hybrid" else _measure)(asked, document)
    document |= {
        "started": started.isoformat(timespec="seconds"),
        "seconds": (datetime.now(UTC) - started).total_seconds(),
        "environment": environment(),
        "replay": ask.replay(parsed),
    }
    document = _finite(document)
    written: list[Path] = []
    if asked["out"]:
        from gatewise.report import write_scenarios

        written = write_scenarios(document, Path(asked["out"]))
    if parsed.json:
        print(json.dumps(document, allow_nan=False))
        return 0
    for line in lines(document):
        print(line)
    if written:
        print(f"written: {', '.join(str(path) for path in written)}")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _measure(asked: dict[str, Any], document: dict[str, Any]) -> None:
    from gatewise import scenarios

    largest = CLOUD_BATCHES[-1] if asked["find_batch"] else asked["batch"]
    plan = scenarios.SubjectPlan(
        model=asked["model"],
        runtime=asked["runtime"],
        threads=asked["threads"],
        tokens=asked["tokens"],
        max_batch=8 if asked["scenario"] == "multi-stream" else largest,
        only_full=asked["scenario"] != "server" and not asked["find_batch"],
        seed=asked["seed"],
        calibration=asked["calibration"],
    )
    cap = ask.size(asked["memory_cap"])
    before_plan = _before(asked, plan) if asked["against"] else None
    if asked["profile"] == "edge":
        _say("starting the model in fresh processes")
        document["edge"] = asdict(scenarios.edge_profile(plan, cap_bytes=cap))
    _say("loading and warming up")
    subject = scenarios.load_subject(plan)
    document |= {"implementation": subject.implementation, "notes": list(subject.notes)}
    before = scenarios.load_subject(before_plan) if before_plan else None
    _say(f"measuring for about {asked['budget_s']:.0f} s")
    if asked["find_batch"]:
        effort = scenarios.Effort(seconds=CLOUD_SHARE * asked["budget_s"])
        choice = scenarios.best_batch(subject.call, CLOUD_BATCHES, limit_s=asked["p99_s"], effort=effort)
        document["batches"] = asdict(choice)
        asked["batch"] = choice.best.batch if choice.best else 1
        asked["budget_s"] *= 1 - CLOUD_SHARE
    if before is None:
        found = _scenario(asked, subject.call)
    else:
        found = _payback(asked, document, before, subject)
    document["result"] = asdict(found)
    if asked["price_per_hour"] is not None:
        document["cost"] = _cost(asked, found)


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
    fleet = bool(asked["requests_per_month"])
    priced = asdict(scenarios.cost(capacity, ask.pricing(asked, value)))
    if not fleet:
        # The traffic is what this one machine answers, so its interval is the machine's, without a step to a second.
        for key, scale in (("per_million", 1.0), ("per_request", 1e-6)):
            ends = priced["busy_per_million"]["interval"]
            times = scale * asked["peak_to_mean"]
            priced[key]["interval"] = None if ends is None else [end * times for end in ends]
        priced["per_month"]["interval"] = None
    return priced | {"whole_fleet": fleet}


def _before(asked: dict[str, Any], plan: Any) -> Any:
    """What the break-even saves against: the same model on another runtime, or another model on the same one."""
    from gatewise.runtimes import RUNTIMES
    from gatewise.workloads import WORKLOADS

    against = asked["against"]
    if against in RUNTIMES:
        return replace(plan, runtime=against)
    if against in WORKLOADS or ":" in against or Path(against).exists():
        return replace(plan, model=against)
    raise unknown_name("runtime or model to save against", against, [*RUNTIMES, *WORKLOADS])


def _payback(asked: dict[str, Any], document: dict[str, Any], before: Any, after: Any) -> Any:
    from gatewise import scenarios

    was, now = scenarios.offline_both(
        before.call,
        after.call,
        batch=asked["batch"],
        effort=scenarios.Effort(seconds=asked["budget_s"]),
        confidence=asked["confidence"],
    )
    found = scenarios.payback(
        was,
        now,
        ask.pricing(asked, was.samples_per_s),
        hours=asked["training_hours"],
        price_per_hour=asked["training_price_per_hour"],
        fleet=bool(asked["requests_per_month"]),
    )
    document["break_even"] = asdict(found) | {"against": asked["against"], "implementation": before.implementation}
    return now


def _hybrid(asked: dict[str, Any], document: dict[str, Any]) -> None:
    from gatewise import scenarios

    data = {key: asked[key] for key in ("data", "text", "target")}
    plan = scenarios.HybridPlan(
        edge=scenarios.Version(model=asked["edge"] or asked["model"], runtime=asked["runtime"], threads=1, **data),
        cloud=scenarios.Version(model=asked["model"], runtime=asked["cloud_runtime"], threads=asked["threads"], **data),
        price_per_hour=asked["price_per_hour"],
        utilisation=asked["utilisation"],
        edge_price_per_hour=asked["edge_price_per_hour"],
        network_s=asked["network"],
        margin=asked["margin"],
        alpha=1 - asked["confidence"],
        budget_s=asked["budget_s"],
        seed=asked["seed"],
    )
    found = scenarios.measure_hybrid(plan, say=_say)
    document["hybrid"] = asdict(found)
    document |= {"implementation": found.cloud_implementation, "notes": list(found.notes)}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
