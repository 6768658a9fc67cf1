"""Columns that follow from others of the same process: what a limit would allow where it has no loop of its own."""

from collections.abc import Mapping, Sequence
from statistics import median

from .figures import Cells

ELEMENTS = 64 * 3072
"""Of the arrays in cache, whose rate is the arithmetic's."""


def with_derived(records: Sequence[Cells]) -> list[dict[str, dict[str, float]]]:
    """The records with these columns beside theirs; the originals stay as they are."""
    found = [{key: dict(cell) for key, cell in record.items()} for record in records]
    rates = _in_cache(records)
    for record in found:
        for key, cell in record.items():
            if key.startswith(("elementwise ", "DRAM-sized ")) and " both ways " in key:
                _both_ways(record, key, cell)
            if key.startswith("DRAM-sized "):
                _arithmetic(rates, key, cell)
    return found


def _both_ways(record: Mapping[str, Mapping[str, float]], key: str, cell: dict[str, float]) -> None:
    """Forward and backward without autograd, as kernels and as bare traffic."""
    halves = [record.get(key.replace(" both ways ", f" {way} "), {}) for way in ("forward", "backward")]
    for name, columns in (
        ("kernels alone", ("ours",)),
        ("traffic alone", ("limit copy", "limit triad", "limit gate")),
    ):
        times = [next((half[column] for column in columns if column in half), None) for half in halves]
        if None not in times:
            cell[name] = sum(time for time in times if time is not None)
    if "kernels alone" in cell and "autograd alone" in cell:
        cell["kernels and autograd"] = cell["kernels alone"] + cell["autograd alone"]


def _in_cache(records: Sequence[Cells]) -> dict[str, float]:
    """Seconds an element of ours in cache, the median over processes, by threads, row and candidate."""
    times: dict[str, list[float]] = {}
    for record in records:
        for key, cell in record.items():
            section, _, row = key.partition(" :: ")
            if section.startswith("elementwise 64x3072, recycled"):
                for who in ("ours", "ours high"):
                    if who in cell:
                        times.setdefault(f"{section.rpartition(', ')[2]} {row} {who}", []).append(cell[who])
    return {name: median(found) / ELEMENTS for name, found in times.items()}


def _arithmetic(rates: Mapping[str, float], key: str, cell: dict[str, float]) -> None:
    section, _, row = key.partition(" :: ")
    shape, _, rest = section.removeprefix("DRAM-sized ").partition(",")
    rows, _, columns = shape.partition("x")
    for who, name in (("ours", "arithmetic alone"), ("ours high", "arithmetic alone high")):
        rate = rates.get(f"{rest.rpartition(', ')[2]} {row} {who}")
        if rate is not None:
            cell[name] = rate * int(rows) * int(columns)
