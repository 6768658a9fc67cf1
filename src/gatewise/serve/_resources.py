"""Which version may use how many threads and how much memory: a plan, checked against the machine before it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gatewise.core import GatewiseError, available_memory_bytes, num_cores


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one version is given. `memory_bytes` is what it is expected to need; 0 is not stated."""

    threads: int = 1
    memory_bytes: int = 0

    def __post_init__(self) -> None:
        if self.threads < 1 or self.memory_bytes < 0:
            raise GatewiseError(f"a version needs at least 1 thread and no less than 0 bytes, not {self}")


@dataclass(frozen=True, kw_only=True)
class ResourcePlan:
    """Shares by version label; `others` is each other version's.

    `spare_bytes` is left to the server itself and to the rest of the machine.

    Versions that are compared must have equal shares: `check` says where they have not.
    """

    shares: Mapping[str, Share] = field(default_factory=dict[str, Share])
    others: Share = field(default_factory=Share)
    spare_bytes: int = 256 << 20

    def share(self, version: str) -> Share:
        """The version's share; `others` where the plan does not name it."""
        return self.shares.get(version, self.others)

    def check(
        self, *, cores: int | None = None, memory_bytes: int | None = None, again: Sequence[str] = ()
    ) -> list[str]:
        """Warnings, one line each. Raises where the plan asks for more threads or memory than there is.

        Args:
            cores, memory_bytes: of the machine; by default what this process may use now. Memory of 0 is unknown.
            again: versions that are loaded once more, each as often as it is named; their copies run on the threads
                of others.
        """
        cores = num_cores() if cores is None else cores
        memory = available_memory_bytes() if memory_bytes is None else memory_bytes
        threads = sum(each.threads for each in self.shares.values())
        asked = ", ".join(f"{label} {each.threads}" for label, each in self.shares.items())
        if threads > cores:
            raise GatewiseError(f"the plan gives {threads} threads ({asked}), the machine has {cores} cores")
        needed = sum(each.memory_bytes for each in (*self.shares.values(), *map(self.share, again)))
        if memory and needed and needed + self.spare_bytes > memory:
            copies = f" (with {', '.join(again)} once more)" if again else ""
            raise GatewiseError(
                f"the plan needs {needed >> 20} MiB{copies} and leaves {self.spare_bytes >> 20} MiB to the rest; "
                f"{memory >> 20} MiB are free"
            )
        found: list[str] = []
        if threads == cores and self.shares:
            found.append(f"all {cores} cores are given to versions; the server itself takes its time from them")
        if len({each.threads for each in self.shares.values()}) > 1:
            found.append(f"the versions have unequal threads ({asked}): their times are not comparable")
        return found
