"""The tables that are printed, as Markdown."""

from collections.abc import Iterable, Sequence
from typing import Any

from .gates import interval
from .rivals import RIVALS
from .timings import Timing


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of equal width."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(c.ljust(w) for c, w in zip(line, widths, strict=True))} |" for line in lines)


def percent(count: int | None, trials: int) -> str:
    """A rate."""
    return "" if count is None else f"{100 * count / trials:.1f}"


def with_interval(count: int, trials: int) -> str:
    """A rate and its 95 % Clopper-Pearson interval, in percent."""
    low, high = interval(count, trials)
    return f"{100 * count / trials:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def calibration(timings: Sequence[Timing]) -> str:
    """False alarms and coverage of ours."""
    rows = (
        (
            t.stream.name if t.stream.sound else f"{t.stream.name} (misused)",
            "process" if t.stream.block > 1 else "pair",
            with_interval(t.no_effect, t.studies),
            with_interval(t.at_margin, t.studies),
            with_interval(t.studies - t.missed, t.studies),
        )
        for t in timings
    )
    return table(
        ("stream", "unit", "false alarm, no effect %", "wrong at the margin %", "coverage, every look %"), rows
    )


def power(timings: Sequence[Timing]) -> str:
    """How often ours finds an effect, after how many units, and how often it never ends."""

    def cell(found: dict[str, Any], trials: int) -> str:
        if found["median"] is None:
            return f"{percent(found['worse'], trials)}  -/-  {percent(found['never'], trials)}"
        units = f"{found['median']:.0f}/{found['p90']:.0f}"
        return f"{percent(found['worse'], trials)}  {units}  {percent(found['never'], trials)}"

    header = ["stream", "+2 %, margin 0", "+5 %, margin 0", "+10 %, margin 0", "+5 %, margin 2 %", "+10 %, margin 2 %"]
    rows = (
        (t.stream.name, *(cell(found, t.studies) for found in t.power), percent(t.equivalent, t.studies))
        for t in timings
    )
    return table([*header, "equivalent at +0 %"], rows)


def rivals(timings: Sequence[Timing], key: str) -> str:
    """One rate of everybody: `no_effect`, `at_margin`, or `worse` (+2 % is called slower)."""

    def ours(t: Timing) -> int:
        return t.power[0]["worse"] if key == "worse" else getattr(t, key)

    rows = (
        (
            t.stream.name,
            percent(ours(t), t.studies),
            *(percent(t.rivals[name][key], t.studies) for name in RIVALS),
        )
        for t in timings
    )
    return table(("stream", "ours", *RIVALS), rows)


def price(rows: Iterable[dict[str, Any]]) -> str:
    """Pairs to 50 / 80 / 90 % power."""

    def three(values: list[float | None]) -> str:
        return " / ".join("-" if value is None else f"{value:.0f}" for value in values)

    lines = (
        (f"+{row['effect']:.0%} at margin {row['margin']:.0%}", three(row["ours"]), three(row["t"])) for row in rows
    )
    return table(("effect", "ours, looked at always", "t-test of a planned n, one look"), lines)


def seeds(rows: Iterable[dict[str, Any]]) -> str:
    """Fixed numbers of seeds."""
    lines = (
        (
            str(row["n"]),
            f"{row['difference']:g}",
            with_interval(row["studies"] - row["missed"], row["studies"]),
            percent(row["called"], row["studies"]),
            percent(row["studies"] - row["bca_missed"], row["studies"]),
        )
        for row in rows
    )
    return table(("seeds", "injected nat", "coverage %", "called different %", "BCa coverage %"), lines)


def items(rows: Iterable[dict[str, Any]]) -> str:
    """Binary items."""
    lines = (
        (
            str(row["n"]),
            f"{100 * row['gained']:g} / {100 * row['lost']:g}",
            with_interval(row["studies"] - row["ours_missed"], row["studies"]),
            *(percent(row["studies"] - row[f"{name}_missed"], row["studies"]) for name in ("t", "unpaired")),
            *(percent(row[f"{name}_called"], row["studies"]) for name in ("ours", "t", "unpaired")),
        )
        for row in rows
    )
    header = ("items", "won / lost %", "coverage %", "t", "unpaired", "called different %", "t", "unpaired")
    return table(header, lines)
