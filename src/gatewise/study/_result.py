"""The study's document: the whole record as plain data, in the published schema."""

import json
import math
from collections.abc import Iterator
from typing import Any

from gatewise.core import METRICS, Metric, Store

from ._budget import first_processes, is_timed
from ._cells import MEMORY, STEP_CELL, TRAIN, TRAINING_MEMORY, cells, groups
from ._effects import reached
from ._equal_time import with_equal_times
from ._moves import moves
from ._plan import CALLS, Part, Plan
from ._questions import judged, overhead_share
from ._record import Record, choices_of, identical, read_record
from ._selection import selections
from ._spoken import spoken
from ._verdict import verdict
from ._words import prefix

SCHEMA = "gatewise.result/1"


def document(plan: Plan, store: Store, *, replay: str) -> dict[str, Any]:
    """Everything that is known of a study, from its store alone."""
    records = [read_record(store, part) for part in plan.parts]
    answers = [judged(record) for record in records]
    shares = [share for record in records if (share := overhead_share(record)) is not None]
    environment = store.get("environment") or {}
    environment["loop_overhead_share"] = max(shares) if shares else None
    arms = [arm for record in records for arm in _arms(record)]
    missing = [entry for record in records for entry in _not_measured(record)]
    dropped: list[dict[str, Any]] = store.get("dropped") or []
    interrupted = not store.get("finished")
    facts = {
        "name": plan.name,
        "question": plan.question,
        "seed": plan.seed,
        "budget_s": plan.budget_s,
        "started": store.get("started"),
        "seconds": store.get("seconds") or 0.0,
        "interrupted": interrupted,
        "parts": [_part(part, record) for part, record in zip(plan.parts, records, strict=True)],
        "dropped": dropped,
        "plan": plan.to_json(),
    }
    comparisons = [
        {"part": r.part.name} | a.to_json() for r, found in zip(records, answers, strict=True) for a in found
    ]
    content = {
        "schema": SCHEMA,
        "gatewise": environment.get("packages", {}).get("gatewise"),
        "study": facts,
        "environment": environment,
        "arms": arms,
        "measurements": [entry for record in records for entry in _measurements(record)],
        "comparisons": comparisons,
        "moves": [entry for record in records for entry in moves(record)],
        "selection": [e for r, found in zip(records, answers, strict=True) for e in selections(r, found)],
        "generation": list(spoken(records)),
        "verdict": verdict(records, answers, shares=shares, dropped=dropped, interrupted=interrupted),
        "not_measured": missing,
        "replay": replay,
    }
    return json.loads(json.dumps(content, allow_nan=False))  # plain lists, and never a number that JSON lacks


def _part(part: Part, record: Record) -> dict[str, Any]:
    content = next(p for p in Plan(name="", parts=(part,)).to_json()["parts"])
    processes = max((record.next_process(key) for key in record.rows if key.startswith("batch=")), default=0)
    return content | {
        "subject": content["subject"] | {"workload": part.subject.workload or part.subject.model},
        "facts": record.prepared.get("facts", {}),
        "training": with_equal_times(record),
        "processes": processes,
        "kernel_choices": choices_of(record),
        "first_processes": first_processes(part) if is_timed(part) or part.train else None,
    }


def _arms(record: Record) -> Iterator[dict[str, Any]]:
    part = record.part
    planned = {arm.label: arm for arm in part.arms}
    for run in groups(record.arms, together=True)[0]:
        facts = record.prepared.get("arms", {}).get(run.arm)
        if facts is None:
            continue
        label = record.arms[0].label if run.twin else run.label
        outputs = record.prepared.get("outputs", {}).get(label, {})
        runs = record.prepared.get("runtimes", {}).get(label, {})
        failures = [row["failure"] for _, row in record.rows.get(TRAIN + run.arm, []) if row["failure"]]
        role = "twin" if run.twin else "baseline" if run.arm == part.baseline and run == record.arms[0] else "arm"
        yield {
            "part": part.name,
            "label": run.label,
            "name": planned[run.arm].name,
            "role": role,
            "runtime": run.runtime,
            "runtime_facts": runs if len(runs) > 1 else None,
            "size_bytes": runs.get("size_bytes") or facts.get("weight_bytes"),
            "matching": planned[run.arm].matching if facts["kind"] == "gate" else None,
            "kernel": run.kernel,
            "planted_slowdown": run.slowdown or None,
            "output_identical": identical(outputs),
            "failure": failures[0] if failures and not run.twin else None,
        } | {key: value for key, value in facts.items() if key != "folder"}


def _unit(record: Record, metric: Metric | None) -> str:
    """The metric's unit; a loss has the unit that its workload says, where it says one."""
    unit = metric.unit if metric else "bits/byte"
    return record.prepared.get("facts", {}).get("loss_unit", unit) if unit == "bits/byte" else unit


def _measurement(record: Record, metric: str, label: str, **more: Any) -> dict[str, Any]:
    facts = METRICS.get(metric)
    arm = next((a for a in groups(record.arms, together=True)[0] if a.label == label), None)
    state = record.prepared.get("arms", {}).get(arm.arm if arm else label, {}).get("weights_state")
    entry = {
        "part": record.part.name,
        "arm": label,
        "metric": metric,
        "unit": _unit(record, facts),
        "direction": facts.direction if facts else "lower",
        "seed": None,
        "process": None,
        "pairs": None,
        "runtime": arm.runtime if arm else "eager",
        "implementation": None,
        "weights_state": state,
        "conditions": {},
    }
    return entry | more


def _measurements(record: Record) -> Iterator[dict[str, Any]]:
    part = record.part
    for cell in cells(part.measure) if part.measure else ():
        for process, row in record.numbered(cell.id):
            metric = next(name for name, call in CALLS.items() if call == cell.call)
            yield from _timings(record, metric, process, row, cell.conditions)
        for key in (k for k in record.rows if k.startswith(MEMORY) and k.endswith("|" + cell.id)):
            label = key[len(MEMORY) :].partition("|")[0]
            for process, row in record.rows[key]:
                common = {"process": process, "values": [row["value"]], "implementation": row["implementation"]}
                yield _measurement(record, "peak_memory", label, conditions=cell.conditions, **common)
    for key in (k for k in record.rows if k.startswith(TRAINING_MEMORY)):
        for process, row in record.rows[key]:
            common = {"process": process, "values": [row["value"]], "implementation": row["implementation"]}
            yield _measurement(record, "training_memory", key[len(TRAINING_MEMORY) :], **common)
    for metric, key in (("output_difference", "outputs"), ("quality", "quality"), ("repeat_difference", "repeats")):
        for label, entry in record.prepared.get(key, {}).items():
            if "values" in entry:
                how = entry.get("name", "1 - cosine of each output to the baseline's")
                yield _measurement(record, metric, label, values=entry["values"], implementation=how)
    for process, row in record.rows.get(STEP_CELL, []):
        yield from _timings(record, "step_time", process, row, {"threads": 1, "device": "cpu"})
    yield from _training(record)


def _timings(
    record: Record, metric: str, process: int, row: dict[str, Any], conditions: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    for label, values in row["values"].items():
        yield _measurement(
            record,
            metric,
            label,
            values=values,
            process=process,
            seed=row["seed"],
            pairs=row["pairs"],
            implementation=row["implementations"][label],
            conditions=conditions,
        )


def _training(record: Record) -> Iterator[dict[str, Any]]:
    for key in (k for k in record.rows if k.startswith(TRAIN)):
        label = key[len(TRAIN) :]
        steps_of = reached(record, label)
        for seed, row in record.rows[key]:
            common = {"seed": seed, "weights_state": "trained", "conditions": {"steps": row["steps"]}}
            how = row["implementation"]
            if row["curve"]:
                values = [value for _, value in row["curve"]]
                steps = [step for step, _ in row["curve"]]
                yield _measurement(
                    record, "heldout_curve", label, values=values, pairs=steps, implementation=how, **common
                )
            ends = {"heldout_loss": row["final_loss"], "steps_to_target": steps_of.get(seed)}
            known = {name: value for name, value in row.get("diagnostics", {}).items() if name in METRICS}
            for metric, value in (ends | known).items():
                if value is not None and math.isfinite(value):
                    yield _measurement(record, metric, label, values=[value], implementation=how, **common)


def _not_measured(record: Record) -> Iterator[dict[str, str]]:
    part = record.part
    if part.measure is None:
        return
    for metric in ("latency", "peak_memory", "output_difference", "quality"):
        if metric not in part.measure.metrics and not (metric == "latency" and "throughput" in part.measure.metrics):
            reason = f'not in the plan\'s metrics; add it with --set measure.metrics=[..., "{metric}"]'
            yield {"what": f"{prefix(part.name)}{METRICS[metric].label}", "reason": reason}
    for key in ("outputs", "quality"):
        for label, entry in record.prepared.get(key, {}).items():
            if "reason" in entry:
                metric = "output_difference" if key == "outputs" else key
                yield {"what": f"{prefix(part.name)}{METRICS[metric].label} of {label}", "reason": entry["reason"]}
    if part.cost and part.cost.utilisation == 0:
        yield {
            "what": f"{prefix(part.name)}cost",
            "reason": "a cost is never shown without cost.utilisation, a share of 0 to 1",
        }
    if part.measure.device == "cpu":
        yield {"what": f"{prefix(part.name)}accelerators", "reason": "the plan measures on the CPU only"}
