"""Everything the store holds about a part."""

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


def read_record(store: Store, part: Part) -> Record:
    """What the store holds of a part."""
    rows: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for cell, process, record in store.cells(part.name):
        rows.setdefault(cell, []).append((process, record))
    return Record(part=part, prepared=store.get(f"prepared:{part.name}") or {}, rows=rows)
