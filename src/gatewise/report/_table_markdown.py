"""An own file's page as GitHub-flavoured Markdown."""

from . import _table_view as view
from . import _table_words as words
from ._markdown_text import escape, table
from ._read import Document

_SIGNS = {"better": "✓ ", "worse": "✗ ", "equivalent": "= ", "inconclusive": "? "}


def render(document: Document) -> str:
    """The whole page as one text, ending with a newline."""
    found = view.build(document)
    blocks = [f"# {escape(found.headline)}", escape(found.question), *(escape(each) for each in found.lead)]
    if found.warnings:
        blocks += ["## Look at this first", _bullets(found.warnings)]
    for section in found.sections:
        blocks += [f"## {escape(section.title)}", *(escape(each) for each in section.says)]
        for each in section.tables:
            blocks += [escape(each.caption), _table(each)]
    blocks += ["## How to read this", _bullets([f"{what}: {why}" for what, why in words.READING])]
    blocks += ["## Set-up", _bullets([f"{each.what}: {each.why}" for each in (*found.facts, *found.environment)])]
    if found.replay:
        blocks += ["## Replay", f"```sh\n{found.replay.replace('```', '')}\n```"]
    return "\n\n".join(blocks) + "\n"


def _bullets(lines: list[str] | tuple[str, ...]) -> str:
    return "\n".join(f"- {escape(each)}" for each in lines)


def _table(found: view.Table) -> str:
    right = {found.head[place] for row in found.rows for place, cell in enumerate(row) if cell.right}
    return table(list(found.head), right, [[_cell(cell) for cell in row] for row in found.rows])


def _cell(cell: view.Cell) -> str:
    soft = f" ({escape(cell.soft)})" if cell.soft else ""
    return f"{_SIGNS.get(cell.mark, '')}{escape(cell.says)}{soft}"
