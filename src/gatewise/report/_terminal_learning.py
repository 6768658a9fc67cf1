"""What the arms' searches found, for a terminal: chosen rates, basins, warnings. The rest stands in its panels."""

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from . import _columns
from ._columns import Column
from ._search import Found, Search
from ._terminal_words import Words
from ._view import View


def searches(view: View, words: Words, console: Console) -> Iterable[Text]:
    """One line an arm, then what must be known of it."""
    for learning in view.learnings:
        if learning.search is None:
            continue
        named = f"{learning.part}: " if len(view.parts) > 1 and learning.part else ""
        yield words(f"\n{named}each arm's own learning rate", "bold")
        yield _columns.hanging(words(""), words(_terms(learning.search), "dim"), console, 2)
        yield from _columns.lines(_table(learning.search.found, words), console.width)
        for found in learning.search.found:
            for each in found.told:
                yield _columns.hanging(words("  -"), words(f"{found.arm}: {each}"), console, 4)


def _terms(search: Search) -> str:
    looks = ", ".join(f"{steps:,}" for steps in search.steps)
    budget = f"; {search.budget:,.0f} steps an arm" if search.budget else ""
    distance = f"; basin: within {search.distance:g} of the best" if search.distance is not None else ""
    return f"{len(search.rates)} rates, looked at after {looks} steps{budget}{distance}"


def _table(found: tuple[Found, ...], words: Words) -> list[Column]:
    lasts = [each.last for each in found]
    basins = [last.within_distance if last else None for last in lasts]
    shown = [basin.range if basin else "" for basin in basins]
    widths = [basin.width if basin else "" for basin in basins]
    names = [words(each.arm + (" (unfair)" if each.unfair else "")) for each in found]
    return [
        Column(head="arm", cells=names, flexible=True),
        Column(head="chosen", cells=[words(each.shown) for each in found], right=True),
        Column(head="basin", cells=[words(each) for each in shown], optional=1),
        Column(head="its width", cells=[words(each) for each in widths], optional=2),
    ]
