"""The words of a claims report: grades with their signs, relations and conditions as people read them."""

from gatewise.core import METRICS

from . import _facts
from . import _numbers as num
from ._read import Document, number, record, strings, text

GRADES = ("supported", "refuted", "equivalent", "inconclusive", "not testable here")
SIGNS = {"supported": "✓", "refuted": "✗", "equivalent": "=", "inconclusive": "?", "not testable here": num.MISSING}
STYLES = {"supported": "better", "refuted": "worse", "equivalent": "equivalent", "inconclusive": "inconclusive"}
"""The verdict whose colour a grade has; the word and the sign say it too."""

UNGRADED = "not graded"

SCOPE = (
    "A grade holds for this machine and for models of the sizes measured here. It says nothing about other machines "
    "and nothing about larger models."
)
SCOPES = (
    "Each grade holds for its own machine and for models of the sizes measured there. They stand side by side and are "
    "never averaged into one: where machines differ, that difference is the result."
)
ALPHA = (
    "Each claim is judged by itself, at its own error rate over all of its comparisons together. Nothing is corrected "
    "across claims: of many, a few may be graded wrongly by chance."
)
TEXT = (
    "Grades come from stored measurements of stock implementations and never from the text that makes the claim; the "
    "implementations of gatewise stand in a column of their own, so that it never grades itself."
)

NO_PRICE = "What requests cost is not shown: the document does not say at which price and utilisation."

_TALLY = {
    "supported": ("holds", "hold"),
    "refuted": ("is refuted", "are refuted"),
    "equivalent": ("makes no practical difference", "make no practical difference"),
    "inconclusive": ("stays open", "stay open"),
    "not testable here": ("could not be tested here", "could not be tested here"),
}


def grade(value: object) -> str:
    """One of the five grades, or empty where the document says none of them."""
    return value if isinstance(value, str) and value in GRADES else ""


def said(word: str) -> str:
    """A grade with its sign."""
    return f"{SIGNS[word]} {word}" if word else UNGRADED


def headline(grades: list[str]) -> str:
    """How many claims came out how, as a sentence."""
    if not grades:
        return "No claim was tested."
    if len(grades) == 1:
        return f"The one claim {_TALLY[grades[0]][0]}." if grades[0] else "The one claim has no grade."
    found = [f"{grades.count(word)} {_TALLY[word][grades.count(word) > 1]}" for word in GRADES if word in grades]
    if "" in grades:
        found.append(f"{grades.count('')} {'has' if grades.count('') == 1 else 'have'} no grade")
    if len(found) == 1:
        word = found[0].partition(" ")[2]
        return f"All {len(grades)} claims {word}."
    return f"Of {len(grades)} claims, {listed(found)}."


def listed(found: list[str]) -> str:
    """Texts as people list them."""
    return " and ".join(each for each in (", ".join(found[:-1]), found[-1]) if each) if found else ""


def counted(many: float, one: str, several: str = "") -> str:
    """A count with its noun: "1 claim", "25,000 tokens"."""
    return f"{num.count(many)} {one if many == 1 else several or one + 's'}"


def condition(name: str, value: object) -> str:
    """One condition; several values (what a trend goes over) stand in their order."""
    values = value if isinstance(value, list | tuple) else [value]
    shown = "/".join(_facts.fact("", each) for each in values)
    return f"{name.replace('_', ' ')} {shown}" if shown else ""


def trend(over: str, form: str, kind: str, pair: tuple[str, str] | None) -> str:
    """What a comparison along a condition looks at, empty for a plain one; `pair` is None where there are several."""
    if not over:
        return ""
    name = over.replace("_", " ")
    if form == "basin":
        sides = f", {pair[0]} over {pair[1]}" if pair else ""
        return f"width of the basin of learning rates{sides}"
    if form == "spread":
        sides = f"{pair[0]} against {pair[1]}" if pair else "one arm of each pair against the other"
        return f"how far each arm's own values range along {name}, {sides}"
    what = "ratio" if kind == "ratio" else "difference"
    sign = "/" if kind == "ratio" else num.MINUS
    what = f"the {what} {pair[0]} {sign} {pair[1]}" if pair else f"the {what} of each pair"
    if form == "change":
        last = "in the last part against the first" if over == "part" else f"at the largest {name} against the smallest"
        return f"{what} {last}"
    return f"how {what} changes {'from part to part' if over == 'part' else f'with each doubling of {name}'}"


def unchanged(form: str, kind: str) -> str:
    """What a comparison along a condition comes to where there is no trend."""
    if form in ("spread", "basin"):
        return "equal ranges" if form == "spread" else "equal widths"
    return "an unchanged ratio" if kind == "ratio" else "an unchanged difference"


def relation(found: Document, label: str) -> str:
    """What would support the claim, in one line."""
    mine, base = strings(found, "arm"), strings(found, "than")
    arms, others = listed(mine), listed(base)
    says = {"equivalent": "equivalent to", "not worse": "not worse than"}
    word = text(found.get("is"))
    known = METRICS.get(text(found.get("metric")))
    kind = known.kind if known else "difference"
    pair = (mine[0], base[0]) if len(mine) == len(base) == 1 else None
    along = trend(text(found.get("over")), text(found.get("form")), kind, pair)
    limit = margin(number(found.get("margin")), kind)
    where = [condition(text(key), value) for key, value in record(found, "where").items()]
    rest = [
        along,
        f"in {text(found.get('part'))}" if text(found.get("part")) else "",
        *where,
        "" if limit == num.MISSING else f"margin {limit}",
        "a control: known to hold, and not part of the grade" if found.get("control") is True else "",
    ]
    line = f"{label}: {arms} {says.get(word, f'{word} than')} {others}"
    return "; ".join(each for each in (line, *rest) if each)


def alpha(value: float | None) -> str:
    """The error rate of a claim as a share."""
    return "" if value is None else f"{num.share(value, 3)} over all comparisons of the claim"


def margin(value: float | None, kind: str) -> str:
    """The change that does not matter."""
    if value is None:
        return num.MISSING
    if value == 0.0:
        return "0 (direction only)"
    return f"±{num.share(value, 3) if kind == 'ratio' else num.plain(value)}"
