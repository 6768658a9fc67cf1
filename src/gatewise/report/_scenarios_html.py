"""A scenario as one offline HTML page, in the look of the main report."""

from markupsafe import Markup

from . import _json, _scenarios_view, _svg
from ._html import environment, flow, sentences
from ._read import Document


def render(document: Document) -> str:
    """The whole page. The document is inlined, so that the page alone is enough to read the numbers again."""
    # `<` is escaped so that no text in the data can end the script element or open a comment in it.
    data = Markup(_json.dumps(document).replace("<", "\\u003c"))
    return (
        environment()
        .get_template("scenarios.html.j2")
        .render(
            page=_scenarios_view.build(document),
            verdicts=_scenarios_view.VERDICTS,
            icon=_svg.icon,
            flow=flow,
            sentences=sentences,
            data=data,
        )
    )
