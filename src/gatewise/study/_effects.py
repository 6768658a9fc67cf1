"""Independent effects of one arm against another, read from a part's record: by process, by seed, by data item.

An effect is a log-ratio or a difference, as the metric's rule has it. The units are keys, so that effects of several
cells or parts can be brought together unit by unit.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gatewise.core import Method, Rule, item_method

from ._cells import STEP_CELL, TRAIN, TRAINING_MEMORY, Cell
from ._evidence import process_effect
from ._plan import DIAGNOSTICS
from ._record import Record

NOT_MEASURED = "it was not measured"


@dataclass(frozen=True, kw_only=True)
class Effects:
    """Effects by unit (a process, a seed, an item), or the reason why there are none."""

    values: Mapping[int, float] = field(default_factory=dict[int, float])
    refusal: str | None = None
    method: Method = "mean"
    """How they are judged: `median` as they come, `mean` or `paired` (answers, right or wrong) for a fixed number."""

    @property
    def in_order(self) -> tuple[float, ...]:
        """The effects in the order of their units, which is the order they were taken in."""
        return tuple(self.values[unit] for unit in sorted(self.values))


def timed(record: Record, cell: Cell, arm: str, than: str, rule: Rule) -> Effects:
    """Latency, throughput, gradient time of one cell: one effect per process in which both stood."""
    return _by_process(record.numbered(cell.id), arm, than, rule)


def _by_process(rows: list[tuple[int, dict[str, Any]]], arm: str, than: str, rule: Rule) -> Effects:
    sign = 1.0 if rule.direction == "lower" else -1.0  # throughput is the inverse of time
    values = {
        process: sign * process_effect(row, than, arm)
        for process, row in rows
        if arm in row["values"] and than in row["values"]
    }
    return Effects(values=values, refusal=None if values else NOT_MEASURED, method="median")


def stepped(record: Record, arm: str, than: str, rule: Rule) -> Effects:
    """The time of a whole training step: one effect per process."""
    return _by_process(record.numbered(STEP_CELL), arm, than, rule)


def weighed(record: Record, key: Callable[[str], str], arm: str, than: str, rule: Rule) -> Effects:
    """Peak memory: one process an arm and number, paired by number. `key` gives the store's key of a label."""
    base = {process: row["value"] for process, row in record.rows.get(key(than), [])}
    mine = {process: row["value"] for process, row in record.rows.get(key(arm), [])}
    shared = sorted(base.keys() & mine.keys())
    values = {process: rule.effect(base[process], mine[process]) for process in shared}
    return Effects(values=values, refusal=None if values else NOT_MEASURED, method="median")


def training_memory_key(label: str) -> str:
    """Where the store keeps the peak memory of an arm's training."""
    return TRAINING_MEMORY + label


def items(record: Record, metric: str, arm: str, than: str) -> Effects:
    """Quality, output difference, repeated calls: one effect per data item, from the preparation.

    `arm` and `than` are labels of runs (an arm on a runtime); the label of an arm stands for its first run. Outputs lie
    at a distance from the *baseline's* alone, on its first runtime: between two other runs there is none.
    """
    key = {"output_difference": "outputs", "quality": "quality", "repeat_difference": "repeats"}[metric]
    found: dict[str, dict[str, Any]] = record.prepared.get(key, {})
    first = {run.arm: run.label for run in reversed(record.arms)}
    arm, than = first.get(arm, arm), first.get(than, than)
    entry: dict[str, Any] | None = found.get(arm)
    base: dict[str, Any] | None = found.get(than)
    if metric == "output_difference":
        if than != record.arms[0].label:
            return Effects(refusal=f"outputs are compared with the baseline's, {record.arms[0].label}, only")
        base = {"values": [0.0] * len(entry.get("values", ()))} if entry else None
    if entry is None or base is None:
        return Effects(refusal=NOT_MEASURED)
    refusal = entry.get("reason") or base.get("reason")
    if refusal:
        return Effects(refusal=refusal)
    pairs = zip(entry["values"], base["values"], strict=True)
    return Effects(
        values={item: mine - zero for item, (mine, zero) in enumerate(pairs)},
        method=item_method(base["values"], entry["values"]),
    )


def seeds(record: Record, metric: str, arm: str, than: str, rule: Rule) -> Effects:
    """What training runs end with, by seed: the arms of a seed share data, order and first weights."""
    base = dict(record.rows.get(TRAIN + than, []))
    mine = dict(record.rows.get(TRAIN + arm, []))
    shared = sorted(base.keys() & mine.keys())
    if not shared:
        return Effects(refusal="it was not trained")
    for name, runs in ((than, base), (arm, mine)):
        failures = [runs[seed]["failure"] for seed in shared if runs[seed]["failure"]]
        if failures:
            return Effects(refusal=f"{name}: {failures[0]} ({len(failures)} of {len(shared)} seeds)")
    pairs = {seed: (_end(record, metric, than, seed, base), _end(record, metric, arm, seed, mine)) for seed in shared}
    missing = sum(None in pair for pair in pairs.values())
    if missing:
        late = f"{arm} did not reach the target in {missing} of {len(shared)} seeds"
        return Effects(refusal=late if metric == "steps_to_target" else NOT_MEASURED)
    if rule.kind == "ratio" and any(0 in pair for pair in pairs.values()):
        return Effects(refusal="a value of 0 has no ratio")
    return Effects(values={s: rule.effect(b, a) for s, (b, a) in pairs.items() if b is not None and a is not None})


def _end(record: Record, metric: str, label: str, seed: int, runs: Mapping[int, dict[str, Any]]) -> float | None:
    if metric in DIAGNOSTICS:
        return runs[seed].get("diagnostics", {}).get(metric)
    return runs[seed]["final_loss"] if metric == "heldout_loss" else reached(record, label).get(seed)


def endings(record: Record, metric: str, label: str) -> dict[int, float]:
    """What each seed's run of an arm ended with, where it did not fail."""
    runs = {seed: row for seed, row in record.rows.get(TRAIN + label, []) if not row["failure"]}
    found = {seed: _end(record, metric, label, seed, runs) for seed in runs}
    return {seed: value for seed, value in found.items() if value is not None}


def reached(record: Record, label: str) -> dict[int, float | None]:
    """After how many steps each seed of an arm reached the target that the baseline's own curve sets."""
    from gatewise import train

    base = dict(record.rows.get(TRAIN + record.part.baseline, []))
    return {
        seed: train.steps_to_target(row["curve"], train.target_of(base[seed]["curve"]))
        for seed, row in record.rows.get(TRAIN + label, [])
        if seed in base and not row["failure"] and not base[seed]["failure"]
    }
