"""The summary of A/A studies, as people read it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ._line import Line, verdict_lines
from ._words import duration, percent, rate_of


def aa_lines(found: Mapping[str, Any]) -> Iterator[Line]:
    """The summary of A/A studies."""
    design, same, control = found["design"], found["identical"], found["control"]
    yield Line("\nA/A studies", style="bold")
    batches = ", ".join(map(str, design["batch"]))
    yield Line("what", f"{design['workload']} at batch {batches}, {design['tokens']} tokens, margin {_margin(found)}")
    yield Line(
        "studies",
        f"{found['in_this_call']} in {duration(found['seconds'])}, {found['from_before']} before; stopped: "
        f"{found['stopped']}",
    )
    if found["interrupted"]:
        yield Line("stopped", "by Ctrl-C; what was finished counts, the study under way does not", "yellow")
    if found["cut_bytes"]:
        yield Line("repaired", "the last line of the record was half written, and was cut off", "yellow")
    if not found["studies"]:
        yield from verdict_lines(found["verdict"])
        return
    yield Line("identical arms", _tallied(same))
    if found["alarms_by_comparison"]["of"]:
        yield Line("false alarms", f"{rate_of(found['alarms_by_comparison'])} of the comparisons judged")
        yield Line("", f"{rate_of(found['alarms_by_study'])} of their studies")
    else:
        yield Line("false alarms", "none, but nothing was judged either")
    level = percent(found["level"], 0)
    yield Line(
        "",
        f"Intervals: Clopper-Pearson, {level}. Comparisons in one study share its processes and its baseline, so they "
        "are not independent; studies are. Each study promises at most "
        f"{percent(found['alpha'], 0)} of any wrong verdict{_had_one(found['wrong_by_study'])}.",
        "dim",
    )
    yield Line("slower by 0.5 %", f"{_tallied(found['inside_margin'])} (inside the margin: equivalent is right)")
    yield Line("slower by 10 %", f"{_tallied(control)} (worse is right)")
    twins = found["twins"]
    yield Line("twins", f"{twins['equivalent']} of {twins['comparisons']} equivalent; where not, nothing is judged")
    yield Line("could have seen", _sensitivity(found))
    spans = found["processes"], found["study_seconds"]
    yield Line("cost", f"{spans[0]['median']:.0f} processes and {duration(spans[1]['median'])} a study, at the median")
    yield from _meanwhile(found)
    yield Line("record", found["record"])
    yield Line("\nCan a 2 % verdict be trusted here?", style="bold")
    yield from verdict_lines(found["verdict"])


def _had_one(wrong: Mapping[str, Any]) -> str:
    return f"; {wrong['hits']} of {wrong['of']} had one" if wrong["of"] else ""


def _meanwhile(found: Mapping[str, Any]) -> Iterator[Line]:
    others, steal = found["others_cores"], found["steal_share"]
    words: list[str] = []
    if others:
        words.append(f"other programs used {others['median']:.2f} cores (worst study {others['high']:.2f})")
    if steal:
        words.append(f"steal {percent(steal['median'], 1)} (worst {percent(steal['high'], 1)})")
    if words:
        yield Line("meanwhile", ", ".join(words))


def _margin(found: Mapping[str, Any]) -> str:
    return percent(found["margin"], 0)


def _sensitivity(found: Mapping[str, Any]) -> str:
    seen = found["smallest_detectable"]
    if seen["median"] is None:
        return found["missing"]["smallest_detectable.median"]
    return (
        f"a change of {percent(seen['median'], 1)} (median; worst {percent(seen['worst'], 1)}), four times out of five"
    )


def _tallied(tally: Mapping[str, int]) -> str:
    words: Iterable[str] = (
        f"{tally[word]} {word}" for word in ("better", "worse", "equivalent", "inconclusive") if tally[word]
    )
    held = tally["blocked_by_twin"]
    return f"{tally['comparisons']}: {', '.join(words)}{f' ({held} held back by the twin)' if held else ''}"
