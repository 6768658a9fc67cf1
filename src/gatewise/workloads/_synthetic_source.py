"""The synthetic data of `byte-lm`: lines made by four rules that a model can learn, from a fixed seed.

Every line is of one kind, each with equal chance:

- `nest`: brackets of four kinds, correctly nested (a stack): `{[()]<>}`
- `copy`: letters, a bar, the same letters again (looking back): `kbdaf|kbdaf`
- `sums`: four sums of numbers below 100 (an algorithm): `37+58=95;4+19=23;...`
- `words`: four words, each with its partner from a fixed table of 512 made-up pairs, frequent ones first in rank (facts
  to remember): `kobu:zate lemi:goro ...`

Held-out lines come from another stream. A pair of summands is only in training or only in held-out text, so held-out
sums cannot have been remembered. The *shifted* text follows the same rules in another mixture: nesting to twice the
depth, copies twice as long, summands below 1000, rare words as likely as frequent ones.

Only `random.Random.random` is drawn from, which Python keeps the same in all versions; the texts are hashed anyway.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any
from zlib import crc32

KINDS = ("nest", "copy", "sums", "words")
SIZES = {"train": 5_459_142, "heldout": 457_420, "shifted": 457_420}
"""Bytes of each side: those of the standard library's source in CPython 3.11."""

_LETTERS = "abcdefghijklmnop"
_PAIRS = 512
_SEEDS = {"train": 11, "heldout": 12, "shifted": 13}


@dataclass(frozen=True, kw_only=True)
class _Style:
    """What the sides differ in."""

    depth: int = 6
    brackets: tuple[int, int] = (10, 34)
    copied: tuple[int, int] = (6, 15)
    below: int = 100
    skewed: bool = True
    keeps: Callable[[int, int], bool]


def _is_heldout(a: int, b: int) -> bool:
    """One pair of summands in ten, the same for a + b and b + a."""
    return crc32(f"{min(a, b)}+{max(a, b)}".encode()) % 10 == 0


_STYLES = {
    "train": _Style(keeps=lambda a, b: not _is_heldout(a, b)),
    "heldout": _Style(keeps=_is_heldout),
    "shifted": _Style(
        depth=12, brackets=(30, 68), copied=(14, 29), below=1000, skewed=False, keeps=lambda a, b: max(a, b) > 99
    ),
}


def _below(rng: Random, limit: int) -> int:
    return int(rng.random() * limit)


def _between(rng: Random, span: tuple[int, int]) -> int:
    return span[0] + _below(rng, span[1] - span[0])


@lru_cache(maxsize=1)
def lexicon() -> tuple[tuple[str, str], ...]:
    """The pairs of words, by rank. All words differ."""
    rng = Random(10)
    words: dict[str, None] = {}
    while len(words) < 2 * _PAIRS:
        words["".join(("bdfgklmnprstvz"[_below(rng, 14)] + "aeiou"[_below(rng, 5)]) for _ in range(2))] = None
    made = list(words)
    return tuple(zip(made[:_PAIRS], made[_PAIRS:], strict=True))


def _nest(rng: Random, style: _Style) -> str:
    length = _between(rng, style.brackets) // 2 * 2
    line: list[str] = []
    stack: list[str] = []
    while len(line) < length:
        left = length - len(line)
        opens = not stack or (len(stack) < min(style.depth, left - 1) and rng.random() < 0.55)
        if opens:
            kind = _below(rng, 4)
            line.append("([{<"[kind])
            stack.append(")]}>"[kind])
        else:
            line.append(stack.pop())
    return "".join(line)


def _copy(rng: Random, style: _Style) -> str:
    word = "".join([_LETTERS[_below(rng, 16)] for _ in range(_between(rng, style.copied))])
    return f"{word}|{word}"


def _sums(rng: Random, style: _Style) -> str:
    sums: list[str] = []
    while len(sums) < 4:
        a, b = _below(rng, style.below), _below(rng, style.below)
        if style.keeps(a, b):
            sums.append(f"{a}+{b}={a + b}")
    return ";".join(sums)


def _words(rng: Random, style: _Style) -> str:
    # A rank drawn evenly on the logarithm makes the frequency of a word fall as one over its rank.
    ranks = [int(_PAIRS ** rng.random()) - 1 if style.skewed else _below(rng, _PAIRS) for _ in range(4)]
    return " ".join([":".join(lexicon()[rank]) for rank in ranks])


_MAKERS = {"nest": _nest, "copy": _copy, "sums": _sums, "words": _words}


def lines(side: str) -> tuple[tuple[str, str], ...]:
    """(kind, line) of one side in order, at least as many as its size takes."""
    rng, style = Random(_SEEDS[side]), _STYLES[side]
    found: list[tuple[str, str]] = []
    size = 0
    while size < SIZES[side]:
        kind = KINDS[_below(rng, len(KINDS))]
        line = _MAKERS[kind](rng, style)
        found.append((kind, line))
        size += len(line) + 1
    return tuple(found)


@lru_cache(maxsize=3)
def _text(side: str) -> bytes:
    return "".join([f"{line}\n" for _, line in lines(side)]).encode()[: SIZES[side]]


class SyntheticText:
    """The sides of this source, as `byte-lm` reads them."""

    def text(self, side: str) -> bytes:
        """The text of `train`, `heldout` or `shifted`, one line after the other, cut to its size."""
        return _text(side)

    def slices(self) -> tuple[tuple[str, ...], bytes]:
        """The names of the slices, and for each held-out byte which one it is in: the kind of its line."""
        marks = b"".join([bytes([KINDS.index(kind)]) * (len(line) + 1) for kind, line in lines("heldout")])
        return KINDS, marks[: SIZES["heldout"]]

    def facts(self) -> dict[str, Any]:
        """What the texts are, with their hashes."""
        digests = {side: hashlib.sha256(self.text(side)).hexdigest() for side in SIZES}
        found: dict[str, Any] = {
            "source": f"synthetic lines: {', '.join(KINDS)}",
            "sha256": hashlib.sha256(f"{digests['train']} {digests['heldout']}".encode()).hexdigest(),
            "split": "by stream; a pair of summands is on one side only",
        }
        for side in SIZES:
            found |= {f"{side}_bytes": SIZES[side], f"{side}_sha256": digests[side]}
        return found
