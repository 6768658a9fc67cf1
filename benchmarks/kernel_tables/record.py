"""What one process hands back, and what it was asked."""

from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Job:
    """One fresh process.

    Attributes:
        part: which table it works for.
        threads: torch's threads.
        memory: `recycled` or `fresh`, how malloc is set (see `kernels.py`).
        seed: decides the order of everything.
        quick: fewer rounds and smaller arrays.
        folder: shared by the processes of a run: built libraries, exported graphs.
        only: what of the part, where it is run in pieces; empty: all.
        kernels: what the native kernels were when the run began. Without them every way of ours is torch's own, which
            looks like a result. Empty: it does not matter.
    """

    part: str
    threads: int
    memory: str
    seed: int
    quick: bool
    folder: str
    only: str = ""
    kernels: str = ""

    @property
    def path(self) -> Path:
        """The shared folder."""
        return Path(self.folder)

    def label(self) -> str:
        """In words."""
        piece = f" {self.only}" if self.only else ""
        return f"{self.part}{piece}, {self.threads} thread{'s' if self.threads > 1 else ''}, {self.memory} memory"


@dataclass(kw_only=True)
class Record:
    """Cells by section and row, and what has to be told.

    Attributes:
        cells: "section :: row" to candidate to seconds or bytes.
        skipped: a candidate, and why it is not there.
        notes: a fact to be printed, by name.
    """

    cells: dict[str, dict[str, float]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, section: str, row: str, values: dict[str, float]) -> None:
        """Keep a cell's values."""
        self.cells.setdefault(f"{section} :: {row}", {}).update(values)

    def plain(self) -> dict[str, object]:
        """As plain data."""
        return asdict(self)
