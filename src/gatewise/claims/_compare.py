"""From a relation and the records of a study to comparisons: what is compared, unit by unit, and how it came out."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from gatewise.core import METRICS, Comparison, Evidence, Judgeable, Rule
from gatewise.study import Between, Part, Record, between, endings, million_requests

from ._basins import widths
from ._claim import CONDITIONS, Relation, measuring


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One comparison that a relation asks for, not yet judged."""

    relation: Relation
    arm: str
    than: str
    part: str
    rule: Rule
    conditions: Mapping[str, Any] = field(default_factory=dict[str, Any])
    evidence: Judgeable | None = None
    refusal: str | None = None
    guards: tuple[tuple[str, str], ...] = ()
    """The cells it is taken from, each with its part: what must go on while this is open."""

    notes: tuple[str, ...] = ()
    implementation: str | None = None
    cost: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def effects(self) -> int:
        """How many independent units there are."""
        return len(self.evidence.effects) if isinstance(self.evidence, Evidence) else 0

    def refused(self, alpha: float) -> Comparison:
        """The comparison that is not decided, with the reason."""
        reason = self.refusal or "it was not measured"
        return self.rule.refuse(reason, alpha=alpha, n=self.effects, method="none")

    def to_json(self, comparison: Comparison, grade: str) -> dict[str, Any]:
        """As the document shows it."""
        facts = METRICS[self.relation.metric]
        return {
            "metric": facts.name,
            "label": facts.label,
            "unit": facts.unit,
            "arm": self.arm,
            "than": self.than,
            "is": self.relation.says,
            "part": self.part,
            "conditions": dict(self.conditions),
            "over": self.relation.over or None,
            "form": self.relation.form if self.relation.over else None,
            "control": self.relation.control,
            "grade": grade,
            "relation": self.relation.text or None,
            "evidence": facts.evidence,
            "notes": list(self.notes),
            "implementation": self.implementation,
            "cost": dict(self.cost) or None,
        } | asdict(comparison)


def measured_in(relation: Relation, records: Sequence[Record]) -> list[Record]:
    """The records in which a relation is looked for."""
    parts = measuring([record.part for record in records], relation)
    return [record for record in records if record.part in parts]


def asked(relation: Relation, records: Sequence[Record]) -> list[Asked]:
    """Every comparison of a relation, in the order of the plan."""
    found = measured_in(relation, records)
    entries: list[Asked] = []
    for arm in relation.arm if found else ():
        for than in relation.than:
            if relation.form == "spread":
                entries += _spread(relation, found, arm, than)
            elif relation.form == "basin":
                entries.append(_basin(relation, found, arm, than))
            elif relation.over and relation.over not in CONDITIONS:
                entries += _across_parts(relation, found, arm, than)
            elif relation.over:
                for record in found:
                    entries += _across_cells(relation, record, arm, than)
            else:
                for record in found:
                    entries += [_plain(relation, record, entry) for entry in _entries(relation, record, arm, than)]
    return entries


def _entries(relation: Relation, record: Record, arm: str, than: str) -> list[Between]:
    """What a record knows of two arms, under the conditions that the relation looks at."""

    def wanted(entry: Between) -> bool:
        known = dict(entry.conditions) | {"runtime": entry.runtime}
        return all(
            known.get(key) in (value if isinstance(value, list) else [value]) for key, value in relation.where.items()
        )

    return [entry for entry in between(record, relation.metric, arm, than, margin=relation.margin) if wanted(entry)]


def _plain(relation: Relation, record: Record, entry: Between) -> Asked:
    cost: dict[str, float] = {}
    if relation.metric == "cost":
        prices = million_requests(record, entry.conditions)
        cost = {label: prices[label] for label in (entry.arm, entry.than) if label in prices}
    return Asked(
        relation=relation,
        arm=entry.arm,
        than=entry.than,
        part=entry.part,
        rule=entry.rule,
        conditions=entry.conditions,
        evidence=entry.evidence,
        refusal=entry.refusal,
        guards=((entry.part, entry.guard),),
        notes=entry.notes,
        implementation=entry.implementation,
        cost=cost,
    )


# Along a condition, or along parts


def _trend(form: str) -> Callable[[Sequence[float], Sequence[float]], float]:
    return _slope if form == "slope" else _change


def _slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Least squares of y on x: the change of the effect for each doubling, x being log2 of the condition."""
    center = math.fsum(x) / len(x)
    middle = math.fsum(y) / len(y)
    along = math.fsum((a - center) * (b - middle) for a, b in zip(x, y, strict=True))
    return along / math.fsum((a - center) ** 2 for a in x)


def _change(x: Sequence[float], y: Sequence[float]) -> float:
    """The effect at the largest x against that at the smallest."""
    ordered = sorted(zip(x, y, strict=True))
    return ordered[-1][1] - ordered[0][1]


def _across_cells(relation: Relation, record: Record, arm: str, than: str) -> Iterator[Asked]:
    """One comparison for each group of cells that differ in one condition only. The unit is the process."""
    groups: dict[tuple[Any, ...], list[Between]] = {}
    for entry in _entries(relation, record, arm, than):
        rest = {key: value for key, value in entry.conditions.items() if key != relation.over}
        groups.setdefault((entry.runtime, *sorted(rest.items())), []).append(entry)
    for entries in groups.values():
        if len(entries) > 1:
            x = [math.log2(entry.conditions[relation.over]) for entry in entries]
            shared = set.intersection(*(set(entry.effects.values) for entry in entries))
            units = [[entry.effects.values[unit] for entry in entries] for unit in sorted(shared)]
            shown = [entry.conditions[relation.over] for entry in entries]
            yield _combined(relation, entries, x, units, {**entries[0].conditions, relation.over: shown})


def _across_parts(relation: Relation, records: Sequence[Record], arm: str, than: str) -> Iterator[Asked]:
    """One comparison over all parts. Seeds are matched by number; processes, which share nothing, by their order."""
    groups: dict[tuple[Any, ...], list[tuple[Record, Between]]] = {}
    for record in records:
        for entry in _entries(relation, record, arm, than):
            kept = {key: value for key, value in entry.conditions.items() if key != "steps"}
            groups.setdefault((entry.runtime, *sorted(kept.items())), []).append((record, entry))
    for found in groups.values():
        if len(found) > 1:
            entries = [entry for _, entry in found]
            shown = [position(relation.over, index, record, than) for index, (record, _) in enumerate(found)]
            x = shown if relation.over == "part" else [math.log2(value) for value in shown]
            kept = {key: value for key, value in entries[0].conditions.items() if key != "steps"}
            where = {**kept, relation.over: shown, "parts": [entry.part for entry in entries]}
            yield _combined(relation, entries, x, _units(relation.metric, entries), where)


def position(over: str, index: int, record: Record, than: str) -> float:
    """Where a part stands along what the relation goes over."""
    part: Part = record.part
    if over == "flops":
        return float(record.prepared.get("arms", {}).get(than, {}).get("flops") or 1)
    if over == "learning_rate":
        settings = (record.prepared.get("training") or {}).get("settings", {})
        return float((part.train.learning_rate if part.train else 0.0) or settings.get("learning_rate") or 1.0)
    return float(index if over == "part" else part.subject.options[over])


def _units(metric: str, entries: Sequence[Between]) -> list[list[float]]:
    if METRICS[metric].evidence == "process":
        columns = [entry.effects.in_order for entry in entries]
        return [[column[i] for column in columns] for i in range(min(map(len, columns)))]
    shared = set.intersection(*(set(entry.effects.values) for entry in entries))
    return [[entry.effects.values[unit] for entry in entries] for unit in sorted(shared)]


def _combined(
    relation: Relation,
    entries: Sequence[Between],
    x: Sequence[float],
    units: Sequence[Sequence[float]],
    conditions: Mapping[str, Any],
) -> Asked:
    refusals = [f"{entry.part}: {entry.refusal}" for entry in entries if entry.refusal]
    if not refusals and len(set(x)) < 2:
        refusals = [f"all parts lie at the same {relation.over}"]
    trend = _trend(relation.form)
    first = entries[0]
    effects = () if refusals else tuple(trend(x, unit) for unit in units)
    return Asked(
        relation=relation,
        arm=first.arm,
        than=first.than,
        part=first.part if all(entry.part == first.part for entry in entries) else "",
        rule=first.rule,
        conditions=dict(conditions)
        | ({"runtime": first.runtime} if METRICS[relation.metric].evidence == "process" else {}),
        evidence=None if refusals else Evidence(effects=effects, rule=first.rule, method=first.effects.method),
        refusal=refusals[0] if refusals else None if effects else "it was not measured",
        guards=tuple((entry.part, entry.guard) for entry in entries),
        notes=tuple(dict.fromkeys(note for entry in entries for note in entry.notes)),
        implementation=first.implementation,
    )


def _spread(relation: Relation, found: Sequence[Record], arm: str, than: str) -> Iterator[Asked]:
    """How far each arm's own values range along the parts, by seed, arm against than."""
    facts = METRICS[relation.metric]
    margin = found[0].part.judge.margin_of(relation.metric) if relation.margin is None else relation.margin
    rule = Rule(kind=facts.kind, direction="lower", margin=margin)
    ranges: list[dict[int, float]] = []
    refusal = None
    for label in (arm, than):
        columns = [endings(record, relation.metric, label) for record in found]
        failed = [record.part.name for record, column in zip(found, columns, strict=True) if not column]
        if failed:
            refusal = refusal or f"{label} has no finished run in {', '.join(failed)}"
        shared = set.intersection(*(set(column) for column in columns))
        ranges.append({seed: _range([column[seed] for column in columns], facts.kind) for seed in shared})
    mine, base = ranges
    effects = tuple(mine[seed] - base[seed] for seed in sorted(mine.keys() & base.keys()))
    yield _along(relation, found, (arm, than), rule, None if refusal else effects, refusal)


def _basin(relation: Relation, found: Sequence[Record], arm: str, than: str) -> Asked:
    """How wide each arm's basin of learning rates is, by seed, arm over than; see `_basins`."""
    sides = [widths(found, label, relation.distance) for label in (arm, than)]
    margin = found[0].part.judge.margin_of(relation.metric) if relation.margin is None else relation.margin
    rule = Rule(kind="ratio", direction="higher", margin=margin)
    refusal = next((side.refusal for side in sides if side.refusal), None)
    mine, base = (side.by_seed for side in sides)
    effects = tuple(mine[seed] - base[seed] for seed in sorted(mine.keys() & base.keys()))
    asked = _along(relation, found, (arm, than), rule, None if refusal else effects, refusal)
    return replace(asked, conditions={**asked.conditions, "distance": relation.distance})


def _along(
    relation: Relation,
    found: Sequence[Record],
    pair: tuple[str, str],
    rule: Rule,
    effects: tuple[float, ...] | None,
    refusal: str | None,
) -> Asked:
    """A question over all parts at once, with the positions of those parts; `effects` by seed, None where refused."""
    arm, than = pair
    shown = [position(relation.over, index, record, than) for index, record in enumerate(found)]
    return Asked(
        relation=relation,
        arm=arm,
        than=than,
        part="",
        rule=rule,
        conditions={relation.over: shown},
        evidence=None if effects is None else Evidence(effects=effects, rule=rule, method="mean"),
        refusal=refusal,
        implementation=found[0].prepared.get("arms", {}).get(arm, {}).get("implementation"),
    )


def _range(values: Sequence[float], kind: str) -> float:
    return math.log(max(values) / min(values)) if kind == "ratio" else max(values) - min(values)
