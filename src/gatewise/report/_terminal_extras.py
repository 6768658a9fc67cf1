"""What moves the time, the selection and the continuations, for a terminal."""

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from . import _columns
from ._columns import Column
from ._moves import Move, drawn
from ._selection import Selection
from ._terminal_words import Words
from ._view import View

_LEAST_BAR, _MOST_BAR = 8, 40


def moves(view: View, words: Words, console: Console) -> Iterable[Text]:
    """Right under the headline: two bars on one scale for each condition, then every ratio."""
    if not view.moves:
        return
    shown = drawn(view.moves)
    most = max(ratio.factor for move in shown for _, ratio in move.bars)
    yield words("\nWhat moves the time: the runtime or the activation?", "bold")
    for index, move in enumerate(view.moves):
        yield words("")
        if index < len(shown):
            yield _columns.hanging(words(""), words(move.told), console, 0)
            yield from _bars(move, most, words, console)
        else:
            yield _columns.hanging(words(""), words(move.title, "bold"), console, 0)
        yield from _columns.lines(_ratios(move, words), console.width)


def _ratios(move: Move, words: Words) -> list[Column]:
    """Every ratio of one condition."""
    rows = move.rows
    ways = ["faster" if ratio.estimate < 1.0 else "slower" for _, ratio in rows]
    return [
        Column(head="what", cells=[words(kind) for kind, _ in rows]),
        Column(head="arm", cells=[words(ratio.arm) for _, ratio in rows], flexible=True),
        Column(head="against", cells=[words(ratio.than) for _, ratio in rows], flexible=True),
        Column(head="moves", cells=[words(ratio.shown) for _, ratio in rows], right=True),
        Column(head="interval", cells=[words(ratio.between) for _, ratio in rows], right=True, optional=1),
        Column(head="way", cells=[words(way) for way in ways], optional=2),
    ]


def _bars(move: Move, most: float, words: Words, console: Console) -> Iterable[Text]:
    names = max(len(name) for name, _ in move.bars)
    numbers = max(len(ratio.shown) for _, ratio in move.bars)
    room = min(max(console.width - names - numbers - 6, _LEAST_BAR), _MOST_BAR)
    for name, ratio in move.bars:
        share = (ratio.factor - 1.0) / (most - 1.0) if most > 1.0 else 0.0
        line = words(f"  {name:<{names}}  ").append_text(words("█" * round(room * share) or "▏", "bold cyan"))
        yield line.append_text(words(f" {ratio.shown}", "bold"))


def selections(view: View, words: Words, console: Console) -> Iterable[Text]:
    """What to take, why, and the candidates."""
    for found in view.selections:
        named = f"{found.title}: " if found.title and len(view.selections) + len(view.parts) > 2 else ""
        yield _columns.hanging(words(""), words(f"\n{named}{found.sentence}", "bold"), console, 0)
        for each in found.reasons:
            yield _columns.hanging(words("  -"), words(each), console, 4)
        yield from _columns.lines(_candidates(found, words), console.width)


def _candidates(found: Selection, words: Words) -> list[Column]:
    points = found.points
    names = [
        words(f"{'* ' if point.recommended else ''}{point.label}", "dim" if point.kind in ("beaten", "out") else "")
        for point in points
    ]
    columns = [Column(head="candidate", cells=names, flexible=True)]
    for index, each in enumerate(found.objectives):
        values = [point.values.get(each.name) for point in points]
        cells = [words(each.show(value.estimate if value else None)) for value in values]
        columns.append(Column(head=each.name.replace("_", " "), cells=cells, right=True, optional=max(index - 1, 0)))
    stands = [words(point.says, "dim" if point.kind in ("beaten", "out") else "") for point in points]
    return [*columns, Column(head="stands", cells=stands, flexible=True)]


def generations(view: View, words: Words, console: Console) -> Iterable[Text]:
    """What each arm wrote after each prompt."""
    for found in view.generations:
        named = f"{found.part}: " if found.part and len(view.parts) > 1 else ""
        yield words(f"\n{named}what the arms write", "bold")
        names = min(max(len(arm) for each in found.texts for arm, _ in each.by_arm), 24)
        for each in found.texts:
            yield _columns.hanging(words("  prompt", "dim"), words(_flat(each.prompt), "dim"), console, names + 4)
            for arm, said in each.by_arm:
                lead = words("  ").append_text(_columns.padded(words(arm), names))
                yield _columns.hanging(lead, words(_flat(said)), console, names + 4)


def _flat(content: str) -> str:
    """One line: a line end as a sign, so that what was written keeps its shape and the columns theirs."""
    return content.replace("\n", " ⏎ ")
