"""The dilution as one offline HTML page, in the look of the main report."""

from markupsafe import Markup

from . import _dilution_figure, _dilution_view, _dilution_words, _json, _svg
from ._html import environment, flow, sentences
from ._read import Document


def render(document: Document) -> str:
    """The whole page. The document is inlined, so that the page alone is enough to read the numbers again."""
    # `<` is escaped so that no text in the data can end the script element or open a comment in it.
    data = Markup(_json.dumps(document).replace("<", "\\u003c"))
    return (
        environment()
        .get_template("dilution.html.j2")
        .render(
            view=_dilution_view.build(document),
            reading=_dilution_words.READING,
            figure=_dilution_figure.figure,
            legend=_dilution_figure.legend,
            shape=_dilution_figure.shape,
            wide=_dilution_figure.WIDE,
            narrow=_dilution_figure.NARROW,
            icon=_svg.icon,
            flow=flow,
            sentences=sentences,
            data=data,
        )
    )
