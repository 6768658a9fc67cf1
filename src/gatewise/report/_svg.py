"""Small functions that write static SVG, and the four verdict marks. Colours are classes, so that the page's style
sheet (dark, light, print) has the last word on them."""

import unicodedata
from collections.abc import Iterable

from markupsafe import Markup
from markupsafe import escape as escape

_PER_CHARACTER = 0.56


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """One element. `class_` is `class`, other underscores are hyphens; numbers are cut to two decimals."""
    parts = [f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"' for key, value in attributes.items()]
    inside = Markup("").join(children)
    return Markup(f"<{name}{''.join(parts)}>{inside}</{name}>")


def _value(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def label(x: float, y: float, content: str, class_: str = "", anchor: str = "start") -> Markup:
    """A text; escaped."""
    return tag("text", escape(content), x=x, y=y, class_=class_ or "label", text_anchor=anchor)


def path(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """A polyline as a path without fill."""
    steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    return tag("path", d=f"M{steps}", class_=class_)


def figure(size: tuple[float, float], ident: str, title: str, description: str, body: Iterable[str]) -> Markup:
    """A whole SVG with the name and description that a screen reader speaks."""
    width, height = size
    return tag(
        "svg",
        tag("title", escape(title), id=f"{ident}-t"),
        tag("desc", escape(description), id=f"{ident}-d"),
        *body,
        role="img",
        aria_labelledby=f"{ident}-t {ident}-d",
        viewBox=f"0 0 {_value(float(width))} {_value(float(height))}",
        width=float(width),
        height=float(height),
    )


def text_width(content: str, size: float) -> float:
    """A guess at a text's width in user units; East Asian wide signs count twice."""
    cells = sum(1.8 if unicodedata.east_asian_width(sign) in "WF" else 1.0 for sign in content)
    return cells * size * _PER_CHARACTER


def shortened(content: str, width: float, size: float) -> str:
    """The text cut with an ellipsis so that it keeps within `width`; the table beside a figure has it whole."""
    if text_width(content, size) <= width:
        return content
    kept = content
    while kept and text_width(kept + "…", size) > width:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def mark(verdict: str, x: float, y: float, r: float = 7.0) -> Markup:
    """A verdict as a shape: disc with tick, diamond with cross, square with two bars, ring with a question mark."""
    a, b = r * 0.45, r * 0.32
    low, high = y + b * 0.8, y - b * 0.8
    if verdict == "better":
        shape = tag("circle", cx=x, cy=y, r=r, class_="shape")
        sign = path([(x - a, y + b * 0.1), (x - a * 0.2, y + a * 0.8), (x + a, y - a * 0.7)], "sign")
    elif verdict == "worse":
        o = r * 1.18
        outline = f"M{x:.2f} {y - o:.2f}l{o:.2f} {o:.2f}l{-o:.2f} {o:.2f}l{-o:.2f} {-o:.2f}z"
        shape = tag("path", d=outline, class_="shape")
        sign = path([(x - b, y - b), (x + b, y + b)], "sign") + path([(x - b, y + b), (x + b, y - b)], "sign")
    elif verdict == "equivalent":
        s = r * 0.9
        shape = tag("rect", x=x - s, y=y - s, width=2 * s, height=2 * s, rx=r * 0.2, class_="shape")
        sign = line(x - a, high, x + a, high, "sign") + line(x - a, low, x + a, low, "sign")
    elif verdict == "inconclusive":
        shape = tag("circle", cx=x, cy=y, r=r - 0.4, class_="shape ring")
        hook = f"a{b:.2f} {b:.2f} 0 1 1 {b * 1.5:.2f} {b * 0.95:.2f}"
        stem = f"q{-b * 0.5:.2f} {b * 0.4:.2f} {-b * 0.5:.2f} {b * 0.9:.2f}"
        curve = f"M{x - b:.2f} {y - b:.2f}{hook}{stem}"
        sign = tag("path", d=curve, class_="sign") + tag("circle", cx=x, cy=y + r * 0.58, r=r * 0.11, class_="stop")
    else:
        shape, sign = tag("circle", cx=x, cy=y, r=r * 0.4, class_="shape ring"), Markup("")
    return tag("g", shape, sign, class_=f"mark v-{verdict or 'none'}")


def icon(verdict: str) -> Markup:
    """The mark beside a verdict's word, hidden from screen readers, which have the word."""
    return tag("svg", mark(verdict, 9.0, 9.0, 7.0), viewBox="0 0 18 18", class_="icon", aria_hidden="true")
