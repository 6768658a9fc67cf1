"""What the page and the terminal view share with the report: its drawing, its numbers, its style."""

from functools import cache

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from gatewise.report.drawing import Words, columns, dumps, flow, num, scale, sentences, svg

__all__ = ["Words", "columns", "dumps", "environment", "flow", "num", "scale", "sentences", "svg"]


@cache
def environment() -> Environment:
    """The page's templates, and behind them the report's."""
    return Environment(
        loader=ChoiceLoader([PackageLoader("gatewise.monitor"), PackageLoader("gatewise.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
