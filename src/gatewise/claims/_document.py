"""The claims' document: every grade with what it rests on, as plain data."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gatewise.study import Record

from ._basins import basins
from ._claim import Claim
from ._compare import measured_in
from ._grade import GRADES, MEANING, Graded, grade_of
from ._kernels import Column
from ._matching import side_by_side
from ._ranking import ranking
from ._stated import needs, stated
from ._trial import STUDIES, Trial

SCHEMA = "gatewise.claims/1"


def claim_entry(
    claim: Claim,
    found: Graded,
    *,
    trial: Trial | None,
    records: Sequence[Record],
    replay: str,
    own: Column,
) -> dict[str, Any]:
    """One claim, graded; `own` is what stands beside the grade, and changes nothing of it."""
    alpha = claim.alpha / max(1, len(trial.looks) if trial else 0)
    statements = stated(found.answers, [grade_of(*answer) for answer in found.answers])
    wanted = needs(statements, records, replay, fixed=_fixed(trial))
    return {
        "id": claim.id,
        "sentence": claim.sentence,
        "source": claim.source,
        "grade": found.grade,
        "reason": found.reason,
        "columns": {
            "stock": found.grade,
            "gatewise": own.grade,
            "gatewise_reason": own.reason,
            "gatewise_study": own.study,
        },
        "alpha": alpha,
        "relations": [relation_entry(relation) for relation in claim.relations],
        "registered": claim.sha256 or None,
        "looks": trial.looks if trial else [],
        "stated": statements,
        "needs": wanted,
        "side_by_side": side_by_side(records, alpha),
        "basins": _basins(claim, records),
        "rates": [row for record in records for row in _rates(record)],
        "comparisons": found.comparisons,
        "subjects": [_subject(record) for record in records],
        "left_out": trial.left_out if trial else [],
        "ranking": ranking(claim.ranking, records) if claim.ranking else None,
        "dropped": trial.dropped if trial else [],
        "next": [*found.settle, *([wanted["text"]] if wanted else [])],
        "otherwise": list(claim.otherwise),
        "follows": claim.follows or None,
        "waits_for": claim.waits_for or None,
        "study": f"{STUDIES}/{trial.name}" if trial and trial.plan else None,
        "seconds": trial.seconds if trial else 0.0,
        "replay": replay,
    }


def _fixed(trial: Trial | None) -> bool:
    """Whether the first budget fixed fewer seeds than the plan has: they are not trained later."""
    return any(" seeds of part " in str(each.get("what")) for each in (trial.dropped if trial else []))


def _basins(claim: Claim, records: Sequence[Record]) -> dict[str, Any] | None:
    relation = next((relation for relation in claim.relations if relation.form == "basin"), None)
    return basins(measured_in(relation, records), relation.distance) if relation else None


def _rates(record: Record) -> list[dict[str, Any]]:
    """The learning rate that each arm's own search chose, and whether a better one may lie beyond its grid."""
    search = (record.prepared.get("training") or {}).get("search")
    if not search:
        return []
    return [
        {"part": record.part.name, "arm": label, "rate": found["chosen"], "at_edge": found["at_edge"]}
        | {
            "searched": search["rates"],
            "steps": found["steps"],
            "failed": _failed(found),
            "heldout_shared": found["heldout_shared"],
        }
        for label, found in search["arms"].items()
    ]


def _failed(found: Mapping[str, Any]) -> list[float]:
    return [row["rate"] for row in found["table"] if row["failures"]]


def relation_entry(relation: Any) -> dict[str, Any]:
    """A relation as the claim file has it."""
    return {
        "metric": relation.metric,
        "arm": list(relation.arm),
        "than": list(relation.than),
        "is": relation.says,
        "margin": relation.margin,
        "part": relation.part or None,
        "where": relation.where,
        "over": relation.over or None,
        "form": relation.form if relation.over else None,
        "distance": relation.distance if relation.form == "basin" else None,
        "text": relation.text or None,
        "control": relation.control,
    }


def _subject(record: Record) -> dict[str, Any]:
    """What a part was measured on: a grade holds for models of this size."""
    arms: Mapping[str, Mapping[str, Any]] = record.prepared.get("arms", {})
    settings = (record.prepared.get("training") or {}).get("settings")
    cost = record.part.cost
    return {
        "part": record.part.name,
        "workload": record.part.subject.workload or record.part.subject.model,
        "options": record.part.subject.options,
        "parameters": {label: facts.get("parameters") for label, facts in arms.items()},
        "implementations": {label: facts.get("implementation") for label, facts in arms.items()},
        "flops": {label: facts.get("flops") for label, facts in arms.items()},
        "training": settings,
        "cost": {"price_per_hour": cost.price_per_hour, "utilisation": cost.utilisation} if cost else None,
        "silent_units": {label: facts["silent_units"] for label, facts in arms.items() if "silent_units" in facts},
    }


def document(entries: Sequence[dict[str, Any]], where: Mapping[str, Any], budget_s: float | None) -> dict[str, Any]:
    """All claims of one machine."""
    counts = Counter(entry["grade"] for entry in entries)
    content = {
        "schema": SCHEMA,
        "gatewise": where["packages"]["gatewise"],
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": dict(where),
        "budget_s": budget_s,
        "meaning": MEANING,
        "counts": {grade: counts[grade] for grade in GRADES},
        "claims": list(entries),
    }
    return json.loads(json.dumps(content, allow_nan=False))


def only(content: dict[str, Any], ids: Sequence[str]) -> dict[str, Any]:
    """The same document with some of its claims."""
    entries = [entry for entry in content["claims"] if entry["id"] in ids]
    counts = Counter(entry["grade"] for entry in entries)
    return content | {"counts": {grade: counts[grade] for grade in GRADES}, "claims": entries}


def _status(claim: Claim) -> str:
    if claim.waits_for:
        return f"waits for {claim.waits_for}"
    return f"follows {claim.follows}" if claim.follows else "runs"


def listing(claims: Sequence[Claim]) -> dict[str, Any]:
    """The claims without a run: what each says, and what it takes."""
    rows = [
        {
            "id": claim.id,
            "sentence": claim.sentence,
            "source": claim.source,
            "status": _status(claim),
            "waits_for": claim.waits_for or None,
            "follows": claim.follows or None,
            "budget_s": claim.plan.budget_s if claim.plan else None,
            "relations": [relation_entry(relation) for relation in claim.relations],
            "plan": claim.plan.to_json() if claim.plan else None,
            "otherwise": list(claim.otherwise),
            "registered": claim.sha256 or None,
        }
        for claim in claims
    ]
    return json.loads(json.dumps({"schema": "gatewise.claims-list/1", "claims": rows}, allow_nan=False))
