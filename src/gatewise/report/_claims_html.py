"""The claims' documents as one offline HTML page, in the look of the main report: no script, nothing is fetched."""

from dataclasses import replace
from typing import Any

from markupsafe import Markup

from . import _claims_merged, _claims_view, _claims_words, _forest, _json, _svg
from ._forest import Layout
from ._html import environment, flow
from ._panels import Panel
from ._read import Document

_EDGE, _ROOM = 0.25, 64.0


def claims(document: Document) -> str:
    """The page of one machine. The document is inlined, so that the page alone is enough to read the numbers again."""
    return _page("claims.html.j2", document, view=_claims_view.build(document))


def merged(document: Document) -> str:
    """The page of several machines, side by side."""
    return _page("claims_merged.html.j2", document, view=_claims_merged.build(document))


def wide(panel: Panel) -> Layout:
    """The layout for desks, with room for names of two arms and their conditions, and for a verdict and its side."""
    size = _forest.WIDE.font
    names = [_svg.text_width(f"{row.arm}{' · unfair' if row.unfair else ''}", size) for row in panel.rows]
    said = [_svg.text_width(row.says, size) for row in panel.rows]
    left, right = 28.0 + max(names, default=0.0), 124.0 + max(said, default=0.0)
    return replace(_forest.WIDE, left=min(max(left, _forest.WIDE.left), 340.0), right=max(right, _forest.WIDE.right))


def narrow(panel: Panel) -> Layout:
    """The layout for phones, with room for the words beside the line of no effect where that line is at an edge."""
    neutral = 1.0 if panel.kind == "ratio" else 0.0
    ends = [end for row in panel.rows for end in (*(row.interval or ()), *(row.limits or ()))]
    ends += [neutral, *(row.estimate for row in panel.rows if row.estimate is not None)]
    low, high = min(ends), max(ends)
    place = (neutral - low) / (high - low) if high > low else 0.5
    if _EDGE < place < 1.0 - _EDGE:
        return _forest.NARROW
    return replace(_forest.NARROW, **{"left" if place <= _EDGE else "right": _ROOM})


def _page(template: str, document: Document, **shown: Any) -> str:
    # `<` is escaped so that no text in the data can end the script element or open a comment in it.
    data = Markup(_json.dumps(document).replace("<", "\\u003c"))
    return (
        environment()
        .get_template(template)
        .render(
            shown,
            data=data,
            icon=_svg.icon,
            forest=_forest.forest,
            wide=wide,
            narrow=narrow,
            flow=flow,
            signs=_claims_words.SIGNS,
            styles=_claims_words.STYLES,
            ungraded=_claims_words.UNGRADED,
            no_price=_claims_words.NO_PRICE,
        )
    )
