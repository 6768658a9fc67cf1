"""`gatewise claims --published`: what published tables support, one table of results per source."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

Results = Sequence[Mapping[str, Any]]

_STYLES = {"established": "bold cyan", "not established": "yellow", "cannot tell": "bold"}
_FRAGILE = "*"
_INDENT, _WORD, _GAP, _INTERVAL = 4, 17, 2, 2
_FEW = 3  # so many pairs that cannot be tested are shown one by one; more are counted only
# For an output that is not UTF-8.
_PLAIN = str.maketrans({"–": "-", "−": "-", "·": "-", "…": "."})


def show(file: Path | None, *, as_json: bool) -> int:
    """Recompute the tables of the package, or those of `file`, and print what they support."""
    from gatewise import claims

    document = claims.published(file)
    if as_json:
        print(json.dumps(document, allow_nan=False))
        return 0
    console = Console(file=sys.stdout, highlight=False)
    for number, source in enumerate(document["tables"]):
        if number:
            console.print()
        _source(console, source, [each for each in document["results"] if each["source"] == source["source"]])
    return 0


def _source(console: Console, source: Mapping[str, Any], results: Results) -> None:
    _say(console, " · ".join(part for part in (source["source"], source["title"]) if part), style="bold")
    for line in (source["reference"], source["setting"]):
        if line:
            _say(console, line, indent=2, style="dim")
    for table in source["tables"]:
        console.print()
        _say(console, _title(table), indent=2)
        for caveat in table["caveats"]:
            _say(console, f"note: {caveat}", indent=_INDENT, style="dim")
        _results(console, [each for each in results if each["table"] == table["name"]], titled=True)
    named = [table["name"] for table in source["tables"]]
    rest = [each for each in results if each["table"] not in named]
    if rest:
        console.print()
        _results(console, rest, titled=False)


def _title(table: Mapping[str, Any]) -> str:
    quantity = "" if table["quantity"] == table["name"] else table["quantity"]
    about = [quantity, f"in {table['unit']}" if table["unit"] else "", f"{table['better']} is better"]
    if table["matched"]:
        about.append(f"matched: {', '.join(table['matched'])}")
    elif len(table["arms"]) > 1:
        about.append("what was matched is not said")
    about += [f"NOT matched: {', '.join(table['unmatched'])}"] if table["unmatched"] else []
    return f"{table['name']}: {'; '.join(part for part in about if part)}"


def _results(console: Console, results: Results, *, titled: bool) -> None:
    """Figures first, each with its reason; then the pairs of arms as a table; what cannot be tested is said once."""
    pairs = [each for each in results if each["analysis"] in ("welch-holm", "pooled-t") and "pair" in each["detail"]]
    reversed_ = [each for each in results if each["analysis"] == "rank-agreement" and "pair" in each["detail"]]
    figures = [each for each in results if each not in pairs and each not in reversed_]
    _figures(console, figures, titled=titled)
    for (title, evidence, reason), found in _grouped(reversed_, "table", "evidence", "reason"):
        _word(console, f"{title}, order reversed: {_names(found)}", evidence, reason)
    tested = [each for each in pairs if "interval" in each]
    if tested:
        _pairs(console, tested)
    untested = [each for each in pairs if each["quantity"].endswith(": difference") and "interval" not in each]
    if len(untested) <= _FEW:
        _figures(console, untested, titled=titled)


def _figures(console: Console, figures: Results, *, titled: bool) -> None:
    """One line a figure; a reason shared by neighbours stands once, below the last of them."""
    for number, each in enumerate(figures):
        following = figures[number + 1] if number + 1 < len(figures) else None
        shared = following is not None and following["reason"] == each["reason"]
        what = str(each["quantity"]).replace(f", {each['table']}", "", 1) if titled else str(each["quantity"])
        value = f": {_number(each['value'])}" if each["value"] is not None else ","
        line = f"{what}{value} {each['unit']}".rstrip(" ,")
        if "interval" in each:
            line += f" ({_number(each['interval'][0])} to {_number(each['interval'][1])})"
        _word(console, line, each["evidence"], "" if shared else each["reason"])


def _word(console: Console, what: str, evidence: str, reason: str) -> None:
    """The evidence first, so that the words stand in one column; what it is about hangs behind it."""
    lead = Text(evidence.ljust(_WORD), style=_STYLES[evidence])
    for number, line in enumerate(_lines(console, Text(what), _INDENT + _WORD)):
        console.print(Text(" " * _INDENT).append_text(lead if number == 0 else Text(" " * _WORD)).append_text(line))
    if reason:
        _say(console, reason, indent=_INDENT + _WORD, style="dim")


def _names(results: Results) -> str:
    return ", ".join(" vs ".join(each["detail"]["pair"]) for each in results)


def _pairs(console: Console, tested: Results) -> None:
    with_d = tested[0]["analysis"] == "pooled-t"
    heads = ["pair", "difference", "interval", "p", "p (Holm)", *(["d"] if with_d else []), "evidence"]
    largest = max(abs(limit) for each in tested for limit in each["interval"])
    places = min(max(2 - math.floor(math.log10(largest)), 0), 12)
    rows: list[list[str]] = []
    for each in sorted(tested, key=lambda result: result["detail"]["p"]):
        detail = each["detail"]
        shown, low, high = (f"{value:+.{places}f}" for value in (each["value"], *each["interval"]))
        cells = [" vs ".join(detail["pair"]), shown, f"{low} to {high}", _p(detail["p"]), _p(detail["p_holm"])]
        cells += [f"{detail['cohen_d']:+.3f}"] if with_d else []
        rows.append([*cells, each["evidence"] + (_FRAGILE if detail["rounding_matters"] else "")])
    widths = _widths([heads, *rows])
    if _INDENT + sum(widths) + _GAP * (len(widths) - 1) > console.width:  # the interval is what can be missed most
        for cells in (heads, *rows):
            cells.pop(_INTERVAL)
        widths = _widths([heads, *rows])
    _say(console, _aligned(heads, widths), indent=_INDENT, style="dim")
    for row in rows:
        word = Text(row[-1], style=_STYLES[row[-1].removesuffix(_FRAGILE)])
        console.print(
            Text(" " * _INDENT + _aligned([*row[:-1], ""], widths)).append("  ").append_text(word), soft_wrap=True
        )
    for note in _notes(tested):
        _say(console, note, indent=_INDENT, style="dim")


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]


def _notes(tested: Results) -> list[str]:
    notes = ["an interval holds at the level at which Holm tested the pair"]
    if any(each["detail"]["rounding_matters"] for each in tested):
        notes.append(f"{_FRAGILE} rounding of the printed figures could change it")
    for each in tested:
        if "published_p" in each["detail"]:
            where = "inside" if each["detail"]["published_p_within_rounding"] else "outside"
            published = _p(each["detail"]["published_p"])
            notes.append(f"{_names([each])}: the source's own p of {published} lies {where} what rounding leaves open")
    unmatched = next((each["reason"] for each in tested if each["reason"].startswith("unmatched")), None)
    return [*notes, *([unmatched.partition(" (")[0]] if unmatched else [])]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Names to the left, numbers to the right, the evidence in the last column as it is."""
    middle = [" " * (wide - cell_len(cell)) + cell for cell, wide in zip(cells[1:-1], widths[1:-1], strict=True)]
    return (" " * _GAP).join([cells[0] + " " * (widths[0] - cell_len(cells[0])), *middle, cells[-1]]).rstrip()


def _p(value: float) -> str:
    if value < 1e-6:
        return "<1e-6"
    return f"{value:.1e}" if value < 0.001 else f"{value:.3f}" if value >= 0.1 else f"{value:.4f}"


def _number(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if 0.1 <= abs(value) < 10 else f"{value:.3g}"


def _grouped(results: Results, *keys: str) -> list[tuple[tuple[str, ...], list[Mapping[str, Any]]]]:
    found: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for each in results:
        found.setdefault(tuple(str(each[key]) for key in keys), []).append(each)
    return list(found.items())


def _say(console: Console, content: str, indent: int = 0, style: str = "") -> None:
    """One paragraph, wrapped behind its indent."""
    for line in _lines(console, Text(content, style=style), indent):
        console.print(Text(" " * indent).append_text(line), soft_wrap=True)


def _lines(console: Console, text: Text, indent: int) -> list[Text]:
    """The lines of a text in the room that an indent leaves; what the output cannot encode becomes plain."""
    try:
        text.plain.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        plain = text.plain.translate(_PLAIN).encode(console.encoding, "replace").decode(console.encoding)
        text = Text(plain, style=text.style)
    lines = list(text.wrap(console, max(console.width - indent, 20), overflow="fold"))
    for line in lines:
        line.rstrip()
    return lines
