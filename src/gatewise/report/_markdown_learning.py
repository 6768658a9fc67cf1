"""How the arms trained and what their searches found, in GitHub-flavoured Markdown."""

from . import _search
from ._learning import Entry, Learning, Line
from ._markdown_text import escape, table
from ._numbers import MISSING
from ._view import View


def learnings(view: View) -> list[str]:
    """The arms side by side, then the searches of their learning rates."""
    return [block for found in view.learnings for block in _learning(found, len(view.learnings) > 1)]


def _learning(found: Learning, several: bool) -> list[str]:
    named = f", {escape(found.part)}" if several and found.part else ""
    blocks = [f"## How the arms trained{named}", escape("; ".join(found.facts))]
    heads = [escape(arm.label) + (" (unmatched: unfair)" if arm.unfair else "") for arm in found.arms]
    rows = [["parameters", "", *(arm.parameters for arm in found.arms)]]
    rows.append(["learning rate", "", *(arm.rate for arm in found.arms)])
    rows += [_row(found, line) for _, lines in found.groups for line in lines]
    blocks.append(table(["what", "in plain words", *heads], set(), rows))
    blocks += ["\n".join(f"- {escape(each)}" for each in found.remarks)] if found.remarks else []
    return [*blocks, *(_searched(found.search, named) if found.search else [])]


def _row(found: Learning, line: Line) -> list[str]:
    unit = f" ({line.unit})" if line.unit and line.unit != "share" else ""
    cells = [_cell(entry, bool(arm.unfair)) for entry, arm in zip(line.entries, found.arms, strict=True)]
    return [escape(line.label + unit), escape(f"{line.means} {line.better.capitalize()} is better."), *cells]


def _cell(entry: Entry, unfair: bool) -> str:
    between = f"({entry.between})" if entry.between else ""
    verdict = entry.verdict + (", unfair" if unfair else "") if entry.verdict else entry.said
    return escape("; ".join(each for each in (entry.value, f"{entry.change} {between}".strip(), verdict) if each))


def _searched(found: _search.Search, named: str) -> list[str]:
    blocks = [f"### Each arm's own learning rate{named}"]
    if found.budget:
        blocks.append(f"The same {len(found.rates)} rates and {found.budget:,.0f} steps for every arm.")
    rows: list[list[str]] = []
    for each in found.found:
        name = escape(each.arm) + (" (unfair)" if each.unfair else "")
        for rung in {rung.steps: rung for rung in (*each.rungs[-1:], *each.rungs[:1])}.values():
            basin = rung.within_distance
            held = [basin.range, basin.width, basin.ends] if basin else [MISSING] * 3
            rows.append([name, each.shown, f"{rung.steps:,}", *held])
    blocks.append(table(["arm", "chosen", "after steps", "basin", "its width", "its ends"], {"chosen"}, rows))
    told = [f"- {escape(each.arm)}: {escape(said)}" for each in found.found for said in each.told]
    blocks += ["\n".join(told)] if told else []
    losses = [
        [escape(each.arm), *(f"{loss} ({after})" if after else loss for loss, after in found.row(each))]
        for each in found.found
    ]
    heads = [_search.rate(each) for each in found.rates]
    unit = f" in {escape(found.unit)}" if found.unit else ""
    return [*blocks, f"Mean held-out loss{unit} at each rate:", table(["arm", *heads], set(heads), losses)]
