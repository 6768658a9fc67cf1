"""What a version computes, site by site: written down when it is registered, computed again when it is loaded.

Beside each model and each exported graph lies its lock (`gatewise lock`): the function of every site on a grid, the
weights that feed it, the straight lines around it. Sites are matched by weights, width and path, so another exporter's
names, a fusion, or a constant moved into a neighbour are no difference.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

GRAPHS = (".onnx", ".xml")
SHOWN = 3
"""How many sites an error names."""


class RefusedError(GatewiseError):
    """A version that is not what was registered; `reasons` has a line each."""

    def __init__(self, head: str, reasons: Iterable[str]) -> None:
        self.reasons = tuple(reasons)
        more = f"; and {len(self.reasons) - SHOWN} more" if len(self.reasons) > SHOWN else ""
        super().__init__(f"{head}\n{'; '.join(self.reasons[:SHOWN])}{more}")


def write_identity(target: Path) -> list[dict[str, Any]]:
    """Write the lock of a model folder or a graph file beside it; returns what stands where, for the manifest."""
    from gatewise.inspection import inspect, lock

    try:
        lock(target)
    except GatewiseError as error:
        # Its path is one that only exists while it is being registered.
        raise GatewiseError(str(error).replace(f"{target}: ", "").replace(str(target), target.name)) from error
    kept = ("path", "kind", "identity", "nearest", "settings", "dtype", "fused", "width")
    # The settings are the parameters of the function: beta, slope, limits of a clamp.
    sites = inspect(target, ranges=False).to_json()["sites"]
    return [{key: site[key] for key in kept} for site in sites]


def changes(target: Path) -> list[str]:
    """Where a model or a graph computes something else than its lock says: the site, what it was, what it is."""
    from gatewise.inspection import check

    return [f"{one.path_b or one.path_a or '(model)'}: {one.text}" for one in check(target).mismatches]


def changes_from(lock: Path, target: Path) -> list[str]:
    """The same of a file that has no lock of its own, against another one's."""
    from gatewise.inspection import lock_path

    beside = lock_path(target)
    shutil.copyfile(lock, beside)
    try:
        return changes(target)
    finally:
        beside.unlink()


def disagreements(model: Path, graphs: Path) -> list[str]:
    """Where a graph computes something else than the model it was exported from.

    What leads to no output of the graph is not exported, and so no difference.
    """
    from gatewise.inspection import against, inspect

    own = inspect(model, ranges=False)
    return [
        f"{one.path_a or one.path_b or '(model)'}: {one.text} (in the graph for {graph.parent.name})"
        for graph in graph_files(graphs)
        for one in against(own, inspect(graph, ranges=False)).mismatches
    ]


def lock_of(target: Path) -> Path:
    """Where the lock of a model folder or a graph file lies."""
    from gatewise.inspection import lock_path

    return lock_path(target)


def graph_files(folder: Path) -> list[Path]:
    """The graphs that a runtime reads, in a folder where it keeps its files."""
    return sorted(path for path in folder.rglob("*") if path.suffix in GRAPHS and path.is_file())


def check_graphs(folder: Path, registered: Path) -> list[str]:
    """Where a graph in `folder` computes something else than the one of its kind in `registered`."""
    lines: list[str] = []
    for graph in graph_files(folder):
        same_kind = [other for other in graph_files(registered) if other.parent.name == graph.parent.name]
        named = [other for other in same_kind if other.name == graph.name] or same_kind
        if not named:
            lines.append(f"{graph.parent.name}: no such graph was registered")
            continue
        lines += [f"{line} (in the graph for {graph.parent.name})" for line in changes_from(lock_of(named[0]), graph)]
    return lines
