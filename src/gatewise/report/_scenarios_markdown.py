"""A scenario as GitHub-flavoured Markdown."""

from . import _scenarios_view
from ._markdown_text import escape, table
from ._read import Document
from ._scenarios_block import Block


def render(document: Document) -> str:
    """The whole page as one text, ending with a newline."""
    page = _scenarios_view.build(document)
    parts = [f"# {_inside(page.headline)}", f"*{escape(page.question)}*"]
    for block in page.blocks:
        parts += _block(block)
    if page.notes:
        parts += ["## Notes", _bullets(page.notes)]
    parts += ["## What was asked", _bullets([f"{each.what}: {each.why}" for each in page.asked])]
    if page.environment:
        parts += ["## Environment", _bullets([f"{each.what}: {each.why}" for each in page.environment])]
    if page.replay:
        parts += ["## Replay", f"```sh\n{page.replay.replace('```', '')}\n```"]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> list[str]:
    parts = [f"## {escape(block.title)}"]
    if block.under:
        parts.append(escape(block.under))
    if block.rows:
        head = [escape(each) for each in block.head]
        right = {escape(each) for each in block.right}
        parts.append(table(head, right, [[_inside(cell) for cell in row] for row in block.rows]))
    return parts + ([_bullets(block.remarks)] if block.remarks else [])


def _inside(content: str) -> str:
    """Text that does not begin a line, where "50.0" is no list."""
    return escape(f" {content}").lstrip()


def _bullets(lines: list[str] | tuple[str, ...]) -> str:
    return "\n".join(f"- {escape(each)}" for each in lines)
