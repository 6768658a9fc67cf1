"""A status as one offline HTML page: no script is needed to read it, and nothing is fetched."""

from pathlib import Path

from gatewise.core import GatewiseError

from ._page_block import Document


def page(document: Document, *, refresh_s: int = 0) -> str:
    """The whole page. With `refresh_s` it asks for itself again after so many seconds (a live page, served)."""
    from markupsafe import Markup

    from ._page_look import dumps, environment, flow, sentences, svg
    from ._page_view import build

    # `<` is escaped so that no text in the data can end the script element or open a comment in it.
    data = Markup(dumps(document).replace("<", "\\u003c"))
    return (
        environment()
        .get_template("monitor.html.j2")
        .render(
            page=build(document),
            verdicts=("better", "worse", "equivalent", "inconclusive"),
            icon=svg.icon,
            flow=flow,
            sentences=sentences,
            data=data,
            refresh_s=refresh_s,
        )
    )


def write_page(document: Document, path: Path) -> Path:
    """Write the page to a file. Raises `GatewiseError` where that cannot be."""
    if path.is_dir():
        raise GatewiseError(f"{path} is a folder\ngive the name of a file for the page: --out page.html")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(document), encoding="utf-8")
    except OSError as error:
        raise GatewiseError(f"cannot write {path}: {error.strerror}") from error
    return path
