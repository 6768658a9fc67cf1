"""The dilution's words: what its levels are called, and how its numbers are written."""

from . import _numbers as num

LEVELS = {"operator": "operator", "ffn": "FFN block", "layer": "layer", "model": "whole model", "request": "request"}
PLACES = {
    "operator": "alone",
    "ffn": "in its FFN block",
    "layer": "in its layer",
    "model": "in the whole model",
    "request": "in a whole request",
}
READING = (
    ("operator", "The activation alone, on numbers of the hidden width. A gate reads two numbers for each."),
    ("FFN block", "The activation between its matrices; a gate's block has the same number of parameters."),
    ("layer", "Attention and the FFN block, each with its norm and residual."),
    ("whole model", "A decoder of such layers, from token ids to logits."),
    ("request", "The model between the bytes of a JSON text and the bytes of the JSON answer; no network."),
    (
        "share",
        "The part of the call's time that the activation takes: what is saved where the identity stands in its place. "
        "The identity costs nothing, so no scalar function in its place can save more.",
    ),
    ("undecided", "The interval crosses the margin, so the data do not decide. That is not a tie."),
    ("refused", "Two identical copies of the baseline did not come out equal there: no number is shown."),
    ("not measured", "The budget ended before a verdict could be reached there; --resume goes on."),
)


def ratio(value: float | None) -> str:
    """A ratio of times with the digits that show a change of a few thousandths."""
    if value is None:
        return num.MISSING
    return f"{value:.3f}" if 0.01 <= value < 9.9995 else num.significant(value)


def share(value: float | None) -> str:
    """A share in percent, a negative one (noise) with its sign."""
    if value is None:
        return num.MISSING
    shown = f"{value * 100.0:.1f}"
    return f"{'0.0' if shown == '-0.0' else shown} %".replace("-", num.MINUS)


def tokens(count: float) -> str:
    """So many tokens."""
    return f"{count:,.0f} token{'' if count == 1 else 's'}"


def times(value: float) -> str:
    """A factor with the digits that tell it from 1."""
    return f"{value:.3f}" if value < 1.1 else f"{value:.2f}" if value < 10 else num.significant(value)
