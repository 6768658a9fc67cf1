"""An inspection, a comparison and a check for a terminal: a compact table, the same text when piped."""

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ._against import Difference, named
from ._check import Checked
from ._inspection import DECLARED, Inspection

if TYPE_CHECKING:
    from rich.console import Console

WIDEST_PATH = 44
WIDEST_OPS = 24
NARROWEST = 100
"""Columns where no terminal says how many there are."""
PLAIN = str.maketrans({"…": ".", "×": "x", "·": "-", "→": ">"})
_COLUMNS = ("site", "computes", "fused", "ops", "width", "params", "FLOPs", "bytes")
_RIGHT = (False, False, False, False, True, True, True, True)


def show(found: Inspection | Difference | Checked, console: "Console | None" = None) -> None:
    """Print it to `console`, by default to stdout."""
    from rich.console import Console
    from rich.text import Text

    target = console or Console(file=sys.stdout, highlight=False)
    width = target.width if target.is_terminal else max(target.width, NARROWEST)
    for line, style in lines_of(found, width):
        target.print(Text(_encodable(line, target.encoding), style=style), soft_wrap=True)


def lines_of(found: Inspection | Difference | Checked, width: int = 100) -> list[tuple[str, str]]:
    """The lines with their styles."""
    if isinstance(found, Checked):
        return list(_checked_lines(found))
    if isinstance(found, Difference):
        return [*_inspection_lines(found.a, width), ("", ""), *_difference_lines(found)]
    return list(_inspection_lines(found, width))


def _inspection_lines(found: Inspection, width: int) -> Iterable[tuple[str, str]]:
    totals = found.totals()
    unit = "site" if len(found.sites) == 1 else "sites"
    yield f"{found.source} · {found.format} · {len(found.sites)} {unit} · {_facts(found)}", "bold"
    if found.how == DECLARED and found.sites:
        yield f"not probed: {found.sites[0].found.reason}", "yellow"
    if found.sites:
        rows = [_row(found, site) for site in found.sites]
        yield from _table(rows, width)
    if not found.sites:
        yield "no activation found", "yellow"
    yield f"whole model: {totals['parameters']:,} parameters, {_amount(totals['bytes'])}B of weights", ""
    yield from _seen_lines(found)
    for left in found.left[:8]:
        yield f"left out {shortened(left.path, WIDEST_PATH)}: {left.reason}", "dim"
    if len(found.left) > 8:
        yield f"left out {len(found.left) - 8} more; --json names them", "dim"
    if found.unknown:
        ops = ", ".join(f"{name} ({count})" for name, count in sorted(found.unknown.items()))
        yield f"operations not known here, nothing looks through them: {ops}", "yellow"


def _facts(found: Inspection) -> str:
    known = {key: found.facts[key] for key in ("model", "producer", "opsets") if found.facts.get(key)}
    if isinstance(known.get("opsets"), dict):
        known["opsets"] = ", ".join(f"{name} {number}" for name, number in known["opsets"].items())
    elif isinstance(known.get("opsets"), list):
        known["opsets"] = ", ".join(known["opsets"])
    return " · ".join(f"{key} {value}" for key, value in known.items()) or found.how


def _row(found: Inspection, site: Any) -> tuple[str, ...]:
    fused = "" if found.how == DECLARED else "one op" if site.fused else f"{len(site.ops)} ops"
    ops = " ".join(dict.fromkeys(_short_op(op) for op in site.ops))
    name = f"{named(site)}{'' if site.dtype in ('', 'float32') else f' in {site.dtype}'}"
    return (
        site.path or "(model)",
        name,
        fused,
        shortened(ops, WIDEST_OPS),
        str(site.width) if site.width is not None else "",
        _amount(site.parameters),
        _amount(site.flops),
        _amount(site.bytes),
    )


def _short_op(op: str) -> str:
    parts = op.split(".")
    return parts[1] if parts[0] == "aten" and len(parts) > 1 else parts[-1]


def _table(rows: Sequence[tuple[str, ...]], width: int) -> Iterable[tuple[str, str]]:
    """Columns as wide as they must be; the path gives way first, then the operations."""
    sizes = [max(len(row[at]) for row in [_COLUMNS, *rows]) for at in range(len(_COLUMNS))]
    sizes[0] = min(sizes[0], WIDEST_PATH)
    for at, least in ((0, 16), (3, 6)):
        over = sum(sizes) + 2 * (len(sizes) - 1) - width
        if over > 0:
            sizes[at] = max(sizes[at] - over, least)
    for number, row in enumerate([_COLUMNS, *rows]):
        cells = [
            f"{shortened(text, size):>{size}}" if right else f"{shortened(text, size):<{size}}"
            for text, size, right in zip(row, sizes, _RIGHT, strict=True)
        ]
        style = "dim" if number == 0 else "yellow" if row[1].startswith("none") else ""
        yield "  ".join(cells).rstrip(), style


def shortened(text: str, size: int) -> str:
    """The text, cut in the middle where it is longer; a layer's number near the front stays."""
    if len(text) <= size:
        return text
    number = re.search(r"\d+", text)
    head = number.end() if number is not None and number.end() <= size * 2 // 3 else (size - 1) // 3
    tail = size - 1 - head
    return f"{text[: size - 1 - tail]}…{text[len(text) - tail :]}"


def _amount(number: int) -> str:
    """1,234 as 1.23k."""
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g}{letter}" if number < 999.5 * limit else f"{number / limit:.0f}{letter}"
    return str(number)


def _seen_lines(found: Inspection) -> Iterable[tuple[str, str]]:
    if not found.seen:
        return
    yield f"on data ({found.data}):", "dim"
    for site in found.sites:
        seen = found.seen.get(site.output)
        if seen is None or seen["min"] is None:
            continue
        dead = f", {seen['dead_units']} of {seen['units']} units dead" if seen["dead_units"] is not None else ""
        path = shortened(site.path or "(model)", WIDEST_PATH)
        yield f"  {path}: inputs from {seen['min']:.4g} to {seen['max']:.4g}{dead}", "dim"


def _difference_lines(found: Difference) -> Iterable[tuple[str, str]]:
    count = len(found.mismatches)
    if not count:
        yield f"the same as {found.b.source}: every site computes the same", "green"
    else:
        yield f"{count} {'mismatch' if count == 1 else 'mismatches'} with {found.b.source}:", "red"
    for mismatch in found.mismatches:
        yield f"  {_place(mismatch.path_a, mismatch.path_b)}: {mismatch.text}", "red"
    for note in found.notes:
        yield f"  note: {note}", "dim"


def _place(one: str | None, other: str | None) -> str:
    if one is None or other is None or one == other:
        return (one if one is not None else other) or "(model)"
    return f"{one or '(model)'} → {other or '(model)'}"


def _checked_lines(found: Checked) -> Iterable[tuple[str, str]]:
    if not found.changes:
        yield f"{found.model}: as locked in {found.lock}", "green"
    else:
        yield f"{found.model}: {len(found.changes)} unexplained since {found.lock}:", "red"
    for line in found.changes:
        yield f"  {line}", "red"
    for note in found.notes:
        yield f"  note: {note}", "dim"


def _encodable(content: str, encoding: str) -> str:
    try:
        content.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return content.translate(PLAIN).encode("ascii", "replace").decode("ascii")
    return content
