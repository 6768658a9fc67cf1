"""An own file's page as one offline HTML page, in the look of the main report."""

from markupsafe import Markup

from . import _json, _svg, _table_figure, _table_view
from . import _table_words as words
from ._html import environment, flow, sentences
from ._read import Document


def render(document: Document) -> str:
    """The whole page. The document is inlined, so that the page alone is enough to read the numbers again."""
    # `<` is escaped so that no text in the data can end the script element or open a comment in it.
    data = Markup(_json.dumps(document).replace("<", "\\u003c"))
    return (
        environment()
        .get_template("table.html.j2")
        .render(
            view=_table_view.build(document),
            reading=words.READING,
            bars=_table_figure.bars,
            bins=_table_figure.bins,
            wide=_table_figure.WIDE,
            narrow=_table_figure.NARROW,
            icon=_svg.icon,
            flow=flow,
            sentences=sentences,
            data=data,
        )
    )
