"""Everything the store holds about a part."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gatewise.core import Store

from ._cells import RunArm, run_arms
from ._plan import Part


@dataclass(frozen=True, kw_only=True)
class Record:
    """Everything stored about a part: its preparation, and the finished cells by id in order of process."""

    part: Part
    prepared: dict[str, Any]
    rows: dict[str, list[tuple[int, dict[str, Any]]]]

    @property
    def arms(self) -> list[RunArm]:
        """The arms that run, baseline first."""
        facts = self.prepared.get("arms", {})
        return run_arms(self.part, {label: facts[label].get("folder", "") for label in facts})

    def numbered(self, cell: str) -> list[tuple[int, dict[str, Any]]]:
        """The records of one cell, of all its groups, each with the number of its process."""
        return [
            row for key, rows in self.rows.items() if key == cell or key.startswith(cell + " group=") for row in rows
        ]

    def next_process(self, cell: str) -> int:
        """The number of the first process of a cell that is not stored yet."""
        rows = self.rows.get(cell, [])
        return rows[-1][0] + 1 if rows else 0


def identical(outputs: Mapping[str, Any]) -> bool | None:
    """Whether an arm's outputs equal the baseline's bit by bit; None where they were not compared."""
    if "values" not in outputs:
        return None
    return bool(outputs.get("identical", not any(outputs["values"])))


def choices_of(record: Record) -> list[dict[str, Any]]:
    """What native kernels chose by measuring, over all cells of a part: each way with the processes that took it."""
    found: dict[str, dict[str, Any]] = {}
    for rows in record.rows.values():
        for process, row in rows:
            for each in row.get("choices", ()):
                place = json.dumps([each["question"], each["key"], each["chosen"]], sort_keys=True)
                kept = found.setdefault(place, {**each, "processes": []})
                kept["processes"] = sorted({*kept["processes"], process})
    return sorted(found.values(), key=lambda each: (each["question"], json.dumps(each["key"], sort_keys=True)))


def without_kernels(record: Mapping[str, Any]) -> list[str]:
    """The arms that ask for native kernels and in which nothing has one, from what a part recorded."""
    arms: Mapping[str, Mapping[str, Any]] = record.get("arms", {})
    return [label for label, facts in arms.items() if (facts.get("kernel_facts") or {}).get("replaced") == []]


def read_record(store: Store, part: Part) -> Record:
    """What the store holds of a part."""
    rows: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for cell, process, record in store.cells(part.name):
        rows.setdefault(cell, []).append((process, record))
    return Record(part=part, prepared=store.get(f"prepared:{part.name}") or {}, rows=rows)
