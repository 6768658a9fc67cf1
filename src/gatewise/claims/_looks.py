"""Looks at a claim: studies that ask the same with other seeds or without a search. Each costs some of its alpha.

A plan fixes its seeds before the first run. Whoever trains more of them after reading the answer, looks again, and
would sooner or later find something: so all looks that stand in a folder share the claim's error rate (Bonferroni).
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, Store
from gatewise.study import KERNELS, STORE, Plan, Record

from ._basins import TRAINED
from ._claim import Claim

STOCK = KERNELS[0]
SEARCH_REFUSED = "searching the learning rates"
"""How the refusal of a search that takes too much of the budget begins."""


def with_seeds(claims: Sequence[Claim], seeds: int) -> list[Claim]:
    """The claims with another number of seeds. Raises `GatewiseError` where none of them trains."""
    if seeds < 2:
        raise GatewiseError(f"--seeds must be 2 or more (a spread), not {seeds}")
    if not any(_trains(claim.plan) for claim in claims):
        raise GatewiseError(f"--seeds goes with claims that train, and {_names(claims)} does not")
    return [replace(claim, plan=_seeded(claim.plan, seeds)) if claim.plan else claim for claim in claims]


def _trains(plan: Plan | None) -> bool:
    return any(part.train and part.train.learns for part in plan.parts) if plan else False


def _names(claims: Sequence[Claim]) -> str:
    return ", ".join(claim.id for claim in claims)


def _seeded(plan: Plan, seeds: int) -> Plan:
    parts = [replace(part, train=replace(part.train, seeds=seeds)) if part.train else part for part in plan.parts]
    return replace(plan, parts=tuple(parts))


def shared_rate(plan: Plan) -> Plan | None:
    """The plan with one learning rate for all arms; None where it searches none."""
    if not any(part.train and part.train.search for part in plan.parts):
        return None
    parts = [replace(part, train=replace(part.train, search=None)) if part.train else part for part in plan.parts]
    return replace(plan, parts=tuple(parts))


def left_untrained(dropped: Sequence[dict[str, Any]], records: Sequence[Record]) -> list[dict[str, Any]]:
    """What a study left out, without the training that an earlier or a later run of it did after all."""
    done = [
        record.part.name
        for record in records
        if record.part.train
        and all(len(record.rows.get(TRAINED + arm.label, [])) >= record.part.train.seeds for arm in record.part.arms)
    ]
    return [each for each in dropped if not any(str(each["what"]).endswith(f"of part {name!r}") for name in done)]


def looks(plan: Plan, studies: Path) -> list[dict[str, Any]]:
    """The stored studies with measurements that ask what a plan asks: `study` (folder), `seeds` asked for."""
    wanted = _question(plan.to_json())
    found: list[dict[str, Any]] = []
    if wanted is None:
        return found
    for path in sorted(studies.glob(f"*/{STORE}")):
        store = Store(path)
        try:
            known = store.get("plan")
            if known is None or _question(known) != wanted:
                continue
            if any(store.cells(part["name"]) for part in known["parts"]):
                trains = [part["train"] for part in known["parts"] if part["train"]]
                searched = any(train.get("search") for train in trains)
                found.append({"study": path.parent.name, "seeds": trains[0]["seeds"], "searched": searched})
        finally:
            store.close()
    return found


def _question(content: dict[str, Any]) -> dict[str, Any] | None:
    """A plan without what may differ between two looks at one question; None where it trains nothing."""
    asked = copy.deepcopy(content)
    asked.pop("budget_s", None)
    trains = [part["train"] for part in asked["parts"] if part.get("train")]
    for train in trains:
        train["seeds"], train["search"] = 0, None
    for part in asked["parts"]:  # stock is what plans had before they could ask for another kernel
        for table in ("measure", "train"):
            (part.get(table) or {}).pop("kernels", None)
        for arm in part["arms"]:
            if arm.get("kernel") == STOCK:
                del arm["kernel"]
    return _plain(asked) if trains else None


def _plain(value: Any) -> Any:
    """Tuples as lists, as a store gives them back."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
