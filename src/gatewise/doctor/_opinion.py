"""From what was seen to plain words: what disturbs, what would help, and what to expect of a 2 % verdict."""

from collections.abc import Iterator, Mapping
from typing import Any

from ._words import percent

OTHERS_CORES = 0.10
STEAL_SHARE = 0.005
DRIFT = 0.02
SLOW_SHARE = 0.1
OUTLIERS, P99 = 0.05, 2.0
RUNS = 0.3
QUIET_LOAD = 0.5

SERIOUS_OTHERS, SERIOUS_STEAL, SERIOUS_DRIFT, SERIOUS_SLOW = 0.5, 0.03, 0.05, 0.3
SERIOUS_OUTLIERS, SERIOUS_P99 = 0.2, 5.0
"""From here on a study of a few minutes is likely to end undecided."""

MEASURE = "gatewise doctor --aa"

Cause = dict[str, Any]


def _cause(what: str, seen: str, helps: str, serious: bool) -> Cause:
    return {"what": what, "seen": seen, "helps": helps, "serious": serious}


def causes(facts: Mapping[str, Any]) -> list[Cause]:
    """What disturbs, the serious first. `facts` is a settled look: null where something is not known."""
    found = [*_from_others(facts), *_from_speed(facts)]
    return sorted(found, key=lambda cause: not cause["serious"])


def _from_others(facts: Mapping[str, Any]) -> Iterator[Cause]:
    quiet, whole, load = facts["quiet"], facts["whole"], facts["load"]
    others = quiet["others_cores"] or 0.0
    if others > OTHERS_CORES:
        names = ", ".join(f"{each['name']} {each['cores']:.2f}" for each in quiet["busiest"])
        seen = f"other programs kept {others:.2f} cores busy while gatewise slept{f' ({names})' if names else ''}"
        yield _cause("other programs", seen, "close them, or measure when they are done", others > SERIOUS_OTHERS)
    elif (load["average"] or 0.0) > QUIET_LOAD * facts["machine"]["cores"]["allowed"]:
        seen = f"the load of the last minute was {load['average']:.2f}, although it is quiet now"
        yield _cause("recent load", seen, "wait a minute; see what starts from time to time", False)
    steal = whole["steal_share"] or 0.0
    if steal > STEAL_SHARE:
        seen = f"the hypervisor gave {percent(steal, 1)} of the processor time to somebody else (steal)"
        helps = "another type of instance (dedicated cores), or more processes and a larger margin"
        yield _cause("another tenant", seen, helps, steal > SERIOUS_STEAL)
    if whole["throttled"]:
        seen = f"the control group stopped this process {whole['throttled']} times: its quota of cores ran out"
        yield _cause("the quota", seen, "raise the container's limit of cores, or use fewer threads", True)


def _from_speed(facts: Mapping[str, Any]) -> Iterator[Cause]:
    probe, machine = facts["probe"], facts["machine"]
    virtual, governor = machine["virtual_machine"], machine["frequency"]["governor"]
    suspects = "another tenant or the frequency" if virtual else "the frequency or another program"
    if (facts["quiet"]["others_cores"] or 0.0) > OTHERS_CORES:
        suspects = "most likely the other programs"
    steady = _steadier(virtual, governor)
    drift, slow = probe["drift"] or 0.0, probe["slow_share"] or 0.0
    if abs(drift) > DRIFT:
        way = "slower" if drift > 0 else "faster"
        seen = f"calls became {percent(abs(drift), 1)} {way} during the probe: {suspects}"
        yield _cause("drift", seen, f"let the machine settle; {steady}", abs(drift) > SERIOUS_DRIFT)
    if slow >= SLOW_SHARE:
        by = percent(probe["slow_by"], 0)
        seen = f"for {percent(slow, 0)} of the time calls were about {by} slower, then fast again: {suspects}"
        yield _cause("changing speed", seen, steady, slow >= SERIOUS_SLOW)
    outliers, worst = probe["outliers"] or 0.0, probe["p99_over_median"] or 0.0
    if outliers > OUTLIERS or worst > P99:
        seen = (
            f"{percent(outliers, 1)} of the calls took more than 5 % longer than the median, and one in a hundred "
            f"{worst:.1f} times as long or longer"
        )
        serious = outliers > SERIOUS_OUTLIERS or worst > SERIOUS_P99
        yield _cause("interruptions", seen, "close what runs beside; more processes", serious)
    if (probe["autocorrelation"] or 0.0) > RUNS:
        seen = f"slow calls come in runs (autocorrelation {probe['autocorrelation']:.2f}): what disturbs lasts a while"
        helps = "nothing needed while arms are called in turn, as gatewise does; never time one after the other"
        yield _cause("runs", seen, helps, False)
    if governor and governor != "performance":
        seen = f"the frequency governor is {governor!r}: the clock follows the load"
        yield _cause("governor", seen, "cpupower frequency-set --governor performance (as root)", False)


def _steadier(virtual: bool, governor: str | None) -> str:
    if virtual:
        return "another type of instance (dedicated cores), more processes (a longer budget), or a larger margin"
    if governor and governor != "performance":
        return "set the governor to performance; close other programs"
    return "close other programs; mains power and a cool machine; more processes (a longer budget)"


def expected(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a look lets one expect of a verdict at a margin of 2 %: `yes`, `doubtful` or `no`; only A/A studies know."""
    found = causes(facts)
    serious = [cause for cause in found if cause["serious"]]
    pairs = facts["probe"]["pairs"]
    if pairs is None:
        answer, text = "doubtful", "The probe gave too few calls to say anything about a 2 % verdict."
    elif pairs["verdict"] != "equivalent":
        answer = "no"
        text = (
            "Do not expect a 2 % verdict here: within one process, on one piece of code, neighbouring calls could not "
            f"be told equal ({_interval(pairs)})."
        )
    elif serious:
        answer = "doubtful"
        text = f"A 2 % verdict is doubtful here: {'; '.join(cause['what'] for cause in serious)}."
    else:
        answer = "yes"
        text = (
            "Expect that a 2 % verdict is possible here: neighbouring calls of one process come out equal "
            f"({_interval(pairs)})."
        )
    return {
        "answer": answer,
        "basis": "expected",
        "text": text,
        "causes": found,
        "next": f"This is a guess from one process. To know: {MEASURE}",
    }


def _interval(pairs: Mapping[str, Any]) -> str:
    if pairs["interval"] is None:
        return "the judge gave no interval"
    low, high = pairs["interval"]
    return f"{100 * (low - 1):+.2f} % to {100 * (high - 1):+.2f} %"
