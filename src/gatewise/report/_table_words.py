"""The words of an own file's page: learners, scores, verdicts, numbers as a shop owner reads them."""

from . import _numbers as num
from ._read import Document, number, pair, text

LEARNERS = {"guess": "guessing", "linear": "linear model", "trees": "boosted trees"}
THE = {"guess": "guessing", "linear": "the linear model", "trees": "the boosted trees"}
VERDICTS = {"better": "better", "worse": "worse", "equivalent": "no practical difference", "inconclusive": "not shown"}
KINDS = {
    "number": "numbers",
    "category": "categories",
    "date": "dates",
    "text": "free text",
    "constant": "always the same",
    "identifier": "names the rows",
    "empty": "empty",
}
SCORES = {
    "top_tenth": "found in the top tenth",
    "auc": "ranking (AUC)",
    "accuracy": "right answers",
    "log_loss": "log-loss",
    "brier": "Brier score",
    "mae": "typical error (MAE)",
    "rmse": "RMSE",
}
_SHARES = ("accuracy", "top_tenth")
READING = (
    (
        "guesswork removed",
        "0 % is no better than always saying the average; 100 % is always right and sure of it. Measured on rows that "
        "no model had seen: by log-loss for categories, by squared error for numbers.",
    ),
    ("linear model", "Adds up a weight for each column. The simplest thing that can work; its reasons can be read."),
    ("boosted trees", "Many small decision trees, each correcting those before. Usually strong on tables."),
    ("gelu, swiglu, relu, …", "Neural networks of one size that differ only in the function inside."),
    (
        "interval",
        "Where the true value lies, given how few rows and runs there were. All verdicts of one table hold together "
        "with a chance of 95 %.",
    ),
    ("better, worse", "The whole interval lies more than 1 point to one side."),
    ("no practical difference", "The whole interval lies within 1 point."),
    ("not shown", "The rows do not decide. That is not a tie, and more rows could."),
    (
        "found in the top tenth",
        "Of all the cases looked for, the share among the tenth of rows rated highest; by chance 10 %.",
    ),
    ("ranking (AUC)", "The chance that a case looked for is rated above one that is not; by chance 0.5."),
    ("typical error (MAE)", "How far predictions are off on average. RMSE counts large errors more."),
    ("log-loss, Brier score", "Errors of the probabilities themselves; less is better."),
)


def learner(name: str) -> str:
    """A learner as a table says it."""
    return LEARNERS.get(name, f"network with {name}")


def the(name: str) -> str:
    """A learner in a sentence."""
    return THE.get(name, f"the network with {name}")


def listed(names: list[str], last: str = "and") -> str:
    """`a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}" if names else ""


def points(value: float | None) -> str:
    """A change of the guesswork removed, in points of a hundred, with its sign; less loss is more removed."""
    return num.MISSING if value is None else num.signed(-100.0 * value, 1)


def points_between(value: object) -> str:
    """The interval of such a change."""
    found = pair(value)
    return num.MISSING if found is None else f"{points(found[1])} to {points(found[0])}"


def removes(value: float | None) -> str:
    """How much of the guesswork a learner removes."""
    return num.MISSING if value is None else f"{num.signed(100.0 * value, 1).removeprefix('+')} %"


def score(name: str, value: float | None) -> str:
    """A score's value: shares in percent, others with three digits."""
    if value is None:
        return num.MISSING
    if name in _SHARES:
        return f"{100.0 * value:.1f} %"
    return f"{value:.3f}" if name in ("auc", "log_loss", "brier") else num.significant(value)


def score_between(name: str, value: object) -> str:
    """A score's interval; empty where there is none."""
    found = pair(value)
    if found is None:
        return ""
    low, high = (score(name, end) for end in found)
    return f"{low.removesuffix(' %') if name in _SHARES else low} to {high}"


def value_of(entry: Document) -> float | None:
    """The number of a score's entry."""
    return number(entry.get("value"))


def amount(value: float | None, *, share: bool) -> str:
    """A predicted or found amount: a probability in percent, else a number."""
    if value is None:
        return num.MISSING
    return f"{100.0 * value:.1f} %" if share else num.significant(value)


def column(entry: Document) -> str:
    """What a column was taken for."""
    return KINDS.get(text(entry.get("kind")), text(entry.get("kind")))
