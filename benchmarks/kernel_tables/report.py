"""From a run to what is printed and written: all tables, the verdicts, and the short tables for the docs."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from . import asked, short, special, tables
from .derived import with_derived
from .figures import Cells
from .targets import WORDS, Verdict, judge


def wrong(processes: Sequence[dict[str, Any]]) -> list[str]:
    """Answers of ours that were not eager's, in a process that times: nothing may be told of such a run."""
    found = {
        f"ours {why} ({process['job']})"
        for process in processes
        for name, why in process["skipped"].items()
        if name.startswith("ours") and why.startswith("differs")
    }
    return sorted(found)


def cells(document: dict[str, Any]) -> list[Cells]:
    """Of every process, derived columns among them."""
    return list(with_derived([process["cells"] for process in document["processes"]]))


def verdicts(document: dict[str, Any]) -> list[Verdict]:
    """Of every target whose part was asked for."""
    from .correctness import FLOOR, ROUNDING

    records, parts = cells(document), document["parts"]
    found = [verdict for target in asked.targets() if target.part in parts for verdict in judge(target, records)]
    others = special.all_of(records, ROUNDING, FLOOR)
    return found + [verdict for part, each in others.items() if part in parts for verdict in each]


def judged(document: dict[str, Any]) -> None:
    """Put the verdicts into the run."""
    document["verdicts"] = [asdict(verdict) | {"word": verdict.word} for verdict in verdicts(document)]


def remarks(document: dict[str, Any]) -> list[str]:
    """What a reader must know, each once."""
    processes = document["processes"]
    told = list(document.get("remarks", ["this run was ended before its end: more processes were planned"]))
    told += [
        f"{name} ({process['part']}) was left out: {why}"
        for process in processes
        for name, why in process["skipped"].items()
    ]
    if document["quick"]:
        told.append("quick: fewer processes and rounds, smaller arrays; no figure of it is a result")
    told += [f"{name}: {line}" for process in processes for name, line in process["notes"].items()]
    return list(dict.fromkeys(told))


def tally(found: Sequence[Verdict]) -> str:
    """How many are met, and so on."""
    counts = {word: sum(verdict.word == word for verdict in found) for word in WORDS}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count) + f", of {len(found)} figures"


def took(document: dict[str, Any]) -> list[list[str]]:
    """A row for each kind of process: how many, and their seconds."""
    times: dict[str, list[float]] = {}
    for process in document["processes"]:
        times.setdefault(process["job"], []).append(process["took_s"])
    rows = [["processes", "number", "first", "mean of the others"]]
    for job, found in times.items():
        others = f"{sum(found[1:]) / (len(found) - 1):.0f} s" if len(found) > 1 else ""
        rows.append([job, str(len(found)), f"{found[0]:.0f} s", others])
    return rows


def text(document: dict[str, Any]) -> str:
    """For a terminal."""
    records, found = cells(document), verdicts(document)
    parts = [document["machine"].get("measured on", "")]
    for section in tables.sections(records):
        parts.append(f"{section}\n\n{tables.text(tables.shown(records, section))}")
    for name, rows in (
        ("Limits of the machine, in this run", tables.limits(records)),
        ("Matrix products, GFLOP/s", tables.products(records)),
        ("Processes", took(document)),
    ):
        if len(rows) > 1:
            parts.append(f"{name}\n\n{tables.text(rows)}")
    parts.append("\n".join(remarks(document)))
    parts.append(f"Verdicts\n\n{tables.verdict_lines(found)}\n\n{tally(found)}")
    parts.append(f"{len(document['processes'])} processes, {document['minutes']:.1f} minutes")
    return "\n" + "\n\n".join(parts)


def markdown(document: dict[str, Any]) -> str:
    """All of it in Markdown."""
    records, found = cells(document), verdicts(document)
    told = [*document.get("told", []), "\n".join(f"- {line}" for line in remarks(document))]
    whole = tables.document(document["machine"], told, records, found)
    return f"{whole}\n{tally(found)}\n\n## Processes\n\n{tables.markdown(took(document))}\n"


def summary(document: dict[str, Any]) -> str:
    """The short tables, for the docs and for the README."""
    return short.tables_of(document, cells(document), verdicts(document), tally(verdicts(document)))
