"""The sign beside the headline, told apart by its shape: a triangle, a tick, an empty ring."""

from markupsafe import Markup

from ._page_look import svg


def icon(state: str) -> Markup:
    """The sign of a state, hidden from screen readers, which have the headline."""
    if state == "alarm":
        shape = svg.tag("path", d="M15 3.2L28 26.4H2z", class_="shape", stroke_linejoin="round")
        bar = svg.line(15.0, 11.0, 15.0, 18.4, "sign")
        parts = (shape, bar, svg.tag("circle", cx=15.0, cy=22.4, r=1.5, class_="dot-on"))
    elif state == "quiet":
        parts = (
            svg.tag("circle", cx=15.0, cy=15.0, r=12.0, class_="shape"),
            svg.path([(9.4, 15.4), (13.4, 19.4), (20.8, 10.8)], "sign"),
        )
    else:
        parts = (svg.tag("circle", cx=15.0, cy=15.0, r=11.4, class_="shape ring"),)
    return svg.tag("svg", svg.tag("g", *parts, class_="mark"), viewBox="0 0 30 30", class_="icon", aria_hidden="true")
