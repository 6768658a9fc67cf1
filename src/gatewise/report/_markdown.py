"""The report as GitHub-flavoured Markdown: verdict first, then a table for each metric."""

import re
from collections.abc import Sequence

from . import _markdown_extras, _markdown_learning, _view
from ._format import Format
from ._markdown_text import escape, table
from ._numbers import MISSING
from ._panels import Panel, Row
from ._read import Document

_SIGNS = {"better": "✓", "worse": "✗", "equivalent": "=", "inconclusive": "?"}


def render(document: Document) -> str:
    """The whole report as one text, ending with a newline."""
    view = _view.build(document)
    blocks = [f"# {escape(view.headline)}"]
    if view.question:
        blocks.append(f"*{escape(view.question)}*")
    if view.recommendation:
        blocks.append(f"**{escape(view.recommendation)}**")
    blocks += _markdown_extras.moves(view)
    blocks += _answers(view)
    blocks += _bullets("What would settle the rest", view.settle)
    blocks += _bullets("Warnings", [f"{each.what} failed: {each.why}" for each in view.failures] + list(view.warnings))
    blocks += _bullets("Dropped to keep the budget", _pairs(view.dropped))
    blocks += _bullets("What the verdicts rest on", view.reasons)
    blocks += _markdown_extras.selections(view)
    blocks += _markdown_learning.learnings(view)
    for panel in view.panels:
        blocks += _panel(panel, len(view.parts) > 1)
    blocks += _markdown_extras.generations(view)
    blocks += _arms(view)
    blocks += _bullets("What was not measured, and why", _pairs(view.not_measured))
    blocks += _bullets("How to read this", _pairs(view.reading))
    for setup in view.setups:
        blocks += _bullets(f"Set-up: {setup.part}" if setup.part else "Set-up", _pairs(setup.facts))
    blocks += _bullets("Environment", _pairs((*view.facts, *view.environment)))
    if view.replay:
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", view.replay)), default=0))
        blocks += ["## Replay", f"{fence}sh\n{view.replay}\n{fence}"]
    return "\n\n".join(blocks) + "\n"


def _pairs(items: Sequence[_view.Item]) -> list[str]:
    return [f"{each.what}: {each.why}" for each in items]


def _bullets(title: str, found: Sequence[str]) -> list[str]:
    return [f"## {escape(title)}", "\n".join(f"- {escape(each)}" for each in found)] if found else []


def said(word: str) -> str:
    """A verdict with its sign, so that it does not hang on colour in any viewer."""
    return f"{_SIGNS[word]} {word}" if word else MISSING


def _answers(view: _view.View) -> list[str]:
    if not view.answers:
        return []
    several = len({each.part for each in view.answers}) > 1
    head = (["part"] if several else []) + ["arm", "verdict", "in plain words"]
    rows = [
        ([escape(each.part)] if several else []) + [escape(each.arm), said(each.verdict), escape(each.text)]
        for each in view.answers
    ]
    return [table(head, set(), rows)]


def _panel(panel: Panel, several: bool) -> list[str]:
    title = f"{panel.part}: {panel.label}" if several and panel.part else panel.label
    blocks = [f"## {escape(title)}", escape("; ".join(panel.terms))]
    if not panel.empty:
        head = ["arm", *(["at"] if panel.grouped else []), escape(panel.typical)]
        head += ["change", "interval", "verdict"] if panel.judged else []
        head += ["could see"] if panel.sensitive else []
        numbers = {escape(panel.typical), "change", "interval", "could see", "n"}
        blocks.append(table([*head, "n"], numbers, [_row(panel, row) for row in panel.rows]))
    return [*blocks, *(["\n".join(f"- {escape(each.line)}" for each in panel.remarks)] if panel.remarks else [])]


def _row(panel: Panel, row: Row) -> list[str]:
    flags = [*(["twin"] if row.twin and "twin" not in row.arm else []), *row.flags]
    cells = [escape(row.arm) + (f" ({escape('; '.join(flags))})" if flags else "")]
    if panel.grouped:
        cells.append(escape(row.group) or MISSING)
    cells.append(escape(row.typical))
    if panel.judged:
        cells += [panel.show(row.estimate), panel.interval(row), said(row.verdict)]
    return [*cells, *([row.smallest] if panel.sensitive else []), row.n]


def _arms(view: _view.View) -> list[str]:
    if not view.arms:
        return []
    several = len(view.parts) > 1
    head = (["part"] if several else []) + ["arm", "role", "parameters", "FLOPs", "weights", "state", "matching"]
    rows: list[list[str]] = []
    for arm in view.arms:
        name = arm.label + (f" ({', '.join(arm.remarks)})" if arm.remarks else "")
        cells = [arm.part] if several else []
        cells += [name, arm.role, arm.parameters, arm.flops, arm.weight_bytes, arm.weights_state, arm.matching]
        rows.append([escape(each) or MISSING for each in [*cells, arm.sites, arm.ran]])
    numbers = {"parameters", "FLOPs", "weights"}
    return ["## Arms", table([*head, "sites changed", "what ran"], numbers, rows)]


MARKDOWN = Format(render=render, filename="report.md")
