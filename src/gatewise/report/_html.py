"""The report as one offline HTML page: no script is needed to read it, and nothing is fetched."""

import re
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from . import _curves, _forest, _json, _moves, _scatter, _search, _search_figure, _svg, _view
from ._format import Format
from ._panels import Panel, Row
from ._read import Document


@dataclass(frozen=True, kw_only=True)
class Part:
    """What the evidence section shows of one part."""

    name: str
    panels: tuple[tuple[str, Panel], ...]
    training: tuple[tuple[str, _curves.Training], ...]


@cache
def environment() -> Environment:
    return Environment(
        loader=PackageLoader("gatewise.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def groups(rows: tuple[Row, ...]) -> list[tuple[str, list[Row]]]:
    """Neighbouring rows under the same conditions."""
    return [(name, list(found)) for name, found in groupby(rows, key=lambda row: row.group)]


def flow(content: str) -> str:
    """A sentence in which no line ends between a number and its percent sign."""
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", content)


def sentences(content: str) -> list[str]:
    """The sentences of a headline, which stand on lines of their own."""
    return re.split(r"(?<=[a-z0-9)]\.) (?=[A-Z])", content)


def _parts(view: _view.View, document: Document) -> tuple[Part, ...]:
    trained = _curves.training(document)
    parts: list[Part] = []
    for index, name in enumerate(view.parts):
        panels = [panel for panel in view.panels if panel.part == name]
        curves = [curve for curve in trained if curve.part == name]
        if panels or curves:
            parts.append(
                Part(
                    name=name,
                    panels=tuple((f"p{index}-{place}", panel) for place, panel in enumerate(panels)),
                    training=tuple((f"t{index}-{place}", curve) for place, curve in enumerate(curves)),
                )
            )
    return tuple(parts)


def render(document: Document) -> str:
    """The whole page. The document is inlined too, so that the page alone is enough to read the numbers again."""
    view = _view.build(document)
    # `<` is escaped so that no text in the data can end the script element or open a comment in it.
    data = _json.dumps(document).replace("<", "\\u003c")
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            view=view,
            parts=_parts(view, document),
            functions=[(f"f{index}", each) for index, each in enumerate(_curves.functions(document))],
            several=len({answer.part for answer in view.answers}) > 1,
            data=Markup(data),
            icon=_svg.icon,
            forest=_forest.forest,
            wide=_forest.WIDE,
            narrow=_forest.NARROW,
            training_plot=_curves.training_plot,
            function_plot=_curves.function_plot,
            moves_plot=_moves.plot,
            moves_drawn=_moves.drawn,
            scatter=_scatter.scatter,
            search_figure=_search_figure.figure,
            search_wide=_search_figure.WIDE,
            search_narrow=_search_figure.NARROW,
            search_key=_search_figure.legend,
            rate=_search.rate,
            groups=groups,
            flow=flow,
            sentences=sentences,
        )
    )


HTML = Format(render=render, filename="report.html")
