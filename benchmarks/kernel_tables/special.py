"""Verdicts that are not one ratio: the sweep over everything, the aim of small calls, gradients and losses."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from gatewise.core import compare

from .asked import AIM_S, NOT_UNDER, RECYCLED, THREADS, WITHIN_S
from .figures import ALPHA, Cells, middle, ratio
from .targets import Verdict

OURS = ("ours", "ours high")
MOST_NAMED = 12


@dataclass(frozen=True, kw_only=True)
class Slow:
    """A cell in which a candidate of ours is slower than eager by more than is allowed."""

    cell: str
    candidate: str
    ratio: float
    slower_s: float
    clearly: bool

    def __str__(self) -> str:
        doubt = "" if self.clearly else " (its interval reaches above)"
        return f"{self.cell} {self.candidate}: {self.ratio:.2f}, {1e6 * self.slower_s:+.1f} us{doubt}"


def slow(records: Sequence[Cells], sections: Sequence[str]) -> tuple[list[Slow], int]:
    """The cells under the floor, the worst first, and how many there are in all."""
    keys = sorted({key for record in records for key in record if key.partition(" :: ")[0] in sections})
    found: list[Slow] = []
    total = 0
    for key in keys:
        for candidate in OURS:
            eager, mine = middle(records, key, "eager"), middle(records, key, candidate)
            of = ratio(records, key, "eager", candidate)
            if eager is None or mine is None or of is None:
                continue
            total += 1
            if of.median < NOT_UNDER and mine - eager > WITHIN_S:
                found.append(
                    Slow(
                        cell=key.partition(" :: ")[2],
                        candidate=candidate,
                        ratio=of.median,
                        slower_s=mine - eager,
                        clearly=of.high is not None and of.high < NOT_UNDER,
                    )
                )
    return sorted(found, key=lambda each: each.ratio), total


def sweep(records: Sequence[Cells]) -> list[Verdict]:
    """Every function, direction, dtype and size from 16 elements up."""
    target = f"every function, direction, dtype and size: >= {NOT_UNDER} of eager's speed, or within 1 us"
    sections = [f"{what}, {RECYCLED}" for what in ("sweep", "elementwise 64x3072", "wide inputs 64x3072")]
    found, total = slow(records, sections)
    if not total:
        return [Verdict(target=target, met=None, found="", why="not in this run")]
    named = "; ".join(map(str, found[:MOST_NAMED])) + ("; ..." if len(found) > MOST_NAMED else "")
    met = False if any(each.clearly for each in found) else None if found else True
    return [
        Verdict(target=target, met=met, found=f"{total - len(found)} of {total} cells", why=named, part="elementwise")
    ]


def small(records: Sequence[Cells]) -> list[Verdict]:
    """The aim of small calls under inference mode: F.silu's own plus a microsecond."""
    found: list[Verdict] = []
    for name in ("gelu", "silu"):
        key = f"calls on 16 elements, {RECYCLED} :: {name} inference mode f32"
        mine, silu = middle(records, key, "ours"), middle(records, key, "F.silu")
        if mine is not None and silu is not None:
            found.append(
                Verdict(
                    target=f"aim: {name} of 16 elements, inference mode: F.silu's time plus {1e6 * AIM_S:.0f} us",
                    met=mine - silu <= AIM_S,
                    found=f"{1e6 * mine:.2f} us, F.silu {1e6 * silu:.2f} us",
                )
            )
    return found


def gradients(records: Sequence[Cells], rounding: float, floor: float) -> list[Verdict]:
    """byte-lm's first gradients: no further from float64 than rounding puts the stock code's."""
    found: list[Verdict] = []
    for key in sorted({key for record in records for key in record if key.startswith("byte-lm first gradients :: ")}):
        eager, mine = middle(records, key, "eager"), middle(records, key, "ours")
        if eager is not None and mine is not None:
            found.append(
                Verdict(
                    target=f"first-step gradients of byte-lm, {key.partition(' :: ')[2]}: equal within rounding",
                    met=mine <= max(rounding * eager, floor),
                    found=f"from float64 at the worst parameter: ours {mine:.1e}, eager {eager:.1e}",
                )
            )
    return found


def losses(records: Sequence[Cells]) -> list[Verdict]:
    """Final losses, paired by seed: the mean difference is at most eager's standard deviation over seeds."""
    keys = sorted({key for record in records for key in record if key.startswith("byte-lm final loss")})
    return [verdict for key in keys if (verdict := _loss(records, key)) is not None]


def _loss(records: Sequence[Cells], key: str) -> Verdict | None:
    pairs = [
        (record[key]["eager"], record[key]["ours"])
        for record in records
        if {"eager", "ours"} <= record.get(key, {}).keys()
    ]
    if not pairs:
        return None
    target = f"final loss of byte-lm, {key.partition(' :: ')[2]}: within seed noise"
    eager, mine = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    differences = [m - e for e, m in pairs]
    told = f"differences {', '.join(f'{value:+.5f}' for value in differences)} bits per byte"
    if len(pairs) < 3:
        return Verdict(target=target, met=None, found=told, why=f"{len(pairs)} seeds tell no noise: at least 3")
    noise = stdev(eager)
    judged = compare(eager, mine, paired=True, kind="difference", margin=0.0, alpha=ALPHA, method="mean")
    if judged.interval is not None:
        told += f", interval of their mean [{judged.interval[0]:+.5f}, {judged.interval[1]:+.5f}]"
    why = f"eager's losses have a standard deviation of {noise:.5f} over seeds"
    return Verdict(target=target, met=abs(fmean(differences)) <= noise, found=told, why=why)


def all_of(records: Sequence[Cells], rounding: float, floor: float) -> dict[str, list[Verdict]]:
    """By part."""
    assert THREADS == 1  # the sections above are those of one thread
    return {
        "elementwise": sweep(records),
        "small": small(records),
        "lm": [*gradients(records, rounding, floor), *losses(records)],
    }
