"""Text and Markdown: the machine, one table a section, the verdicts."""

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from statistics import median

from .figures import Cells, middle, ratio
from .targets import Verdict

ORDER = ("eager", "ours", "ours high", "ours out=", "ours high out=", "eager out=", "F.gelu", "F.silu", "compile")

HIDDEN = (
    "work",
    "product ",
    "kernels alone",
    "kernels and autograd",
    "autograd alone",
    "traffic alone",
    "arithmetic alone",
    "matmul alone",
)
"""Columns that have no place in a table: they explain."""


def rank(name: str) -> tuple[int, str]:
    """Ours first, then peers, limits last."""
    if name in ORDER:
        return ORDER.index(name), name
    return len(ORDER) + (2 if name.startswith("limit") else 3 if name.startswith("page") else 1), name


def amount(value: float, section: str) -> str:
    """A time, a size or a bare figure, as the section has it."""
    if "bytes" in section and "bits" not in section:
        return f"{value / 2**20:.1f} MiB"
    if "loss" in section:
        return f"{value:.4f}"
    if "gradients" in section:
        return f"{value:.1e}"
    if value < 1e-3:
        return f"{1e6 * value:.3g} us" if value < 1e-4 else f"{1e6 * value:.0f} us"
    return f"{1e3 * value:.3g} ms" if value < 0.9995 else f"{value:.3g} s"


def sections(records: Sequence[Cells]) -> list[str]:
    """In the order in which they were met."""
    return list(dict.fromkeys(key.partition(" :: ")[0] for record in records for key in record))


def shown(records: Sequence[Cells], section: str) -> list[list[str]]:
    """A section's table; the sweep has a column a size."""
    return sweep(records, section) if section.startswith("sweep") else table(records, section)


def sweep(records: Sequence[Cells], section: str) -> list[list[str]]:
    """A row for each function, direction, dtype and accuracy; a column a size; eager / ours."""
    keys = list(dict.fromkeys(key for record in records for key in record if key.startswith(f"{section} :: ")))
    sizes = sorted({int(key.rpartition(" ")[2]) for key in keys})
    rows = [["eager / ours, by elements", *map(str, sizes)]]
    for row in sorted({key.rpartition(" ")[0] for key in keys}):
        for who in ("ours", "ours high"):
            found = [ratio(records, f"{row} {size}", "eager", who) for size in sizes]
            if any(found):
                name = row.partition(" :: ")[2] + who.removeprefix("ours")
                rows.append([name, *("" if each is None else f"{each.median:.2f}" for each in found)])
    return rows


def limits(records: Sequence[Cells]) -> list[list[str]]:
    """What the machine gave: the rate of every limit in the cells that say how much work there is."""
    rows = [["limit", "where", "rate"]]
    for key in dict.fromkeys(key for record in records for key in record):
        names = sorted({name for record in records for name in record.get(key, {}) if name.startswith("limit")})
        for unit, work in (
            ("GB/s", middle(records, key, "work bytes")),
            ("GFLOP/s", middle(records, key, "work flop")),
        ):
            for name in names if work is not None else ():
                if ("matmul" in name) == (unit == "GFLOP/s"):
                    time = middle(records, key, name)
                    where = f"{key.partition(' :: ')[2]} ({key.partition(' :: ')[0]})"
                    rows.append([name.removeprefix("limit "), where, f"{work / time / 1e9:.0f} {unit}"])
    return rows


def products(records: Sequence[Cells]) -> list[list[str]]:
    """Every matrix product that was measured, by every way, in GFLOP/s: the median over all cells and processes."""
    seen: dict[tuple[str, str], dict[str, list[float]]] = {}
    for record in records:
        for key, cell in record.items():
            section = key.partition(" :: ")[0]
            where = ("bf16" if "bf16" in section else "f32") + f", {section.rpartition(', ')[2]}"
            for name, value in cell.items():
                if name.startswith("product "):
                    _, shape, way = name.split(" ")
                    rate = 2 * prod(map(int, shape.split("x"))) / value / 1e9
                    seen.setdefault((where, shape), {}).setdefault(way, []).append(rate)
    ways = sorted({way for found in seen.values() for way in found})
    rows = [["rows x inner x columns", "", *ways]]
    for (where, shape), found in sorted(seen.items(), key=lambda each: (each[0][0], _natural(each[0][1]))):
        rates = [f"{median(found[way]):.0f}" if way in found else "" for way in ways]
        rows.append([shape, where, *rates])
    return rows


def table(records: Sequence[Cells], section: str) -> list[list[str]]:
    """Rows of text, the head first: eager's amount, then eager / candidate; of limits, limit / ours as a share."""
    keys = list(dict.fromkeys(key for record in records for key in record if key.startswith(f"{section} :: ")))
    names = sorted({name for record in records for key in keys for name in record.get(key, {})}, key=rank)
    names = [name for name in names if not _detail(name, names) and not name.startswith(HIDDEN)]
    bare = section.startswith("calls on") or "loss" in section or "gradients" in section
    rows = [["", *(_head(name) for name in names)]]
    for key in sorted(keys, key=_natural):
        cells = [key.partition(" :: ")[2]]
        for name in names:
            found = middle(records, key, name)
            if found is None:
                cells.append("")
            elif name.startswith("page faults"):
                cells.append(f"{found:.0f}")
            elif name == "eager" or bare:
                cells.append(amount(found, section))
            elif name.startswith("limit"):
                cells.append(_share(records, key, name))
            else:
                cells.append(str(ratio(records, key, "eager", name)))
        rows.append(cells)
    return rows


def _detail(name: str, names: Sequence[str]) -> bool:
    """One of several ways to reach a limit, whose best has a column of its own."""
    return any(name.startswith(f"{other} ") for other in names if other.startswith("limit"))


def _head(name: str) -> str:
    return f"share of {name}" if name.startswith("limit") else name


def _share(records: Sequence[Cells], key: str, name: str) -> str:
    """Which share of a limit our best candidate reaches."""
    mine = [each for each in ("ours out=", "ours", "eager") if middle(records, key, each) is not None]
    found = ratio(records, key, name, mine[0]) if mine else None
    return "" if found is None else f"{100 * found.median:.0f} %" + (" (eager)" if mine[0] == "eager" else "")


def _natural(key: str) -> tuple[object, ...]:
    """Sorts numbers in a key as numbers."""
    words = key.replace(",", " ").replace("x", " ").split()
    return tuple((0, float(word), "") if word.replace(".", "", 1).isdigit() else (1, 0.0, word) for word in words)


def text(rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The same table in Markdown."""
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    head, *body = escaped
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verdict_rows(verdicts: Iterable[Verdict]) -> list[list[str]]:
    """The verdicts as a table."""
    rows = [["target", "measured", "", "remark"]]
    rows += [[verdict.target, verdict.found, verdict.word, verdict.why] for verdict in verdicts]
    return rows


def verdict_lines(verdicts: Iterable[Verdict]) -> str:
    """The verdicts for a terminal, a line each."""
    lines = []
    for verdict in verdicts:
        why = f" ({verdict.why})" if verdict.why else ""
        lines.append(f"{verdict.word:12} {verdict.target}: {verdict.found}{why}")
    return "\n".join(lines)


def document(
    head: Mapping[str, str], told: Sequence[str], records: Sequence[Cells], verdicts: Sequence[Verdict]
) -> str:
    """All of it in Markdown."""
    parts = ["# Kernels on this machine", "\n".join(f"- {name}: {value}" for name, value in head.items()), *told]
    for section in sections(records):
        parts += [f"## {section}", markdown(shown(records, section))]
    if len(rates := limits(records)) > 1:
        parts += ["## Limits of the machine, in this run", markdown(rates)]
    if len(rates := products(records)) > 1:
        parts += ["## Matrix products, GFLOP/s", markdown(rates)]
    parts += ["## Verdicts", markdown(verdict_rows(verdicts))]
    return "\n\n".join(parts) + "\n"
