"""Results of several machines, side by side: a grade holds for its machine, and is never averaged away."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

from ._grade import MEANING
from ._merge_check import read

MERGED = "gatewise.claims-merged/1"
RESULT = "claims.json"


def merge(paths: Sequence[Path | str]) -> dict[str, Any]:
    """The claims of several `claims.json` (or folders that hold one), machine by machine: `gatewise.claims-merged/1`.

    A claim that is graded differently on two machines says so; there is no grade over all of them.

    Raises:
        GatewiseError: less than two results, a file that is no result of `gatewise claims` or was edited into none, one
            given twice.
    """
    if len(paths) < 2:
        raise GatewiseError("--merge needs the results of at least two machines: --merge A/claims.json B/claims.json")
    files = [Path(path) / RESULT if Path(path).is_dir() else Path(path) for path in paths]
    documents = [read(file) for file in files]
    names = _names([document["environment"] for document in documents])
    written = [(document["written"], json.dumps(document["environment"], sort_keys=True)) for document in documents]
    if len(set(written)) < len(written):
        raise GatewiseError("--merge was given one result twice")
    machines = [
        {"name": name, "environment": document["environment"], "written": document["written"], "file": str(path)}
        for name, document, path in zip(names, documents, paths, strict=True)
    ]
    rows: dict[str, dict[str, Any]] = {}
    for name, document in zip(names, documents, strict=True):
        for entry in document["claims"]:
            row = rows.setdefault(entry["id"], {"id": entry["id"], "sentence": entry["sentence"], "results": []})
            row["results"].append({"machine": name} | entry | {"machine": name})
    for row in rows.values():
        grades = {result["grade"] for result in row["results"]}
        row["agree"] = len(grades) == 1 and len(row["results"]) > 1
        row["grades"] = {result["machine"]: result["grade"] for result in row["results"]}
    return {"schema": MERGED, "meaning": MEANING, "machines": machines, "claims": list(rows.values())}


def _names(environments: Sequence[dict[str, Any]]) -> list[str]:
    """A short name for each machine; equal ones are numbered."""
    names = [f"{where.get('cpu') or 'unknown'}, {_cores(where.get('cores'))}" for where in environments]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: index + 1].count(name)})"
        for index, name in enumerate(names)
    ]


def _cores(count: int | None) -> str:
    return f"{'?' if count is None else count} core{'' if count == 1 else 's'}"
