"""The glosses of WordNet 3.0 with their classes, from the files of Debian's package `wordnet-base`.

WordNet 3.0, copyright 2006 Princeton University, under the WordNet licence (free to use, copy and change with its
notice; see the package's copyright file). 117,659 synsets; a gloss is a definition, often with examples of use behind
it. Its class is the lexicographer file that the synset stands in: 45 of them, such as `noun.animal` and `verb.motion`.

Which side a gloss is on follows from a hash of its words alone: the same words, whatever the synset, are on one side.
Glosses that differ in a word (`a city in Ohio`, `a city in Iowa`) may be on both; that is how the dictionary is.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

FOLDER = "/usr/share/wordnet"
"""Where Debian's package puts the files."""

PARTS = ("noun", "verb", "adj", "adv")
_NAMES = """
adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition
noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object noun.person
noun.phenomenon noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape noun.state
noun.substance noun.time verb.body verb.change verb.cognition verb.communication verb.competition verb.consumption
verb.contact verb.creation verb.emotion verb.motion verb.perception verb.possession verb.social verb.stative
verb.weather adj.ppl
"""
CLASSES = tuple(_NAMES.split())
"""The lexicographer files by number, as lexnames(5WN) lists them."""

_LARGEST_BYTES = 64 * 2**20
_HELDOUT_TENTH = 0
_LEAST = 20


@dataclass(frozen=True, kw_only=True)
class Glosses:
    """One side: the words of each gloss, its class, and its part of speech as an index in `PARTS`."""

    words: tuple[tuple[str, ...], ...]
    classes: tuple[int, ...]
    parts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class WordNet:
    """Both sides, how many glosses have the words of one before them, and one hash of all."""

    train: Glosses
    heldout: Glosses
    repeated: int
    sha256: str


def words_of(gloss: str) -> tuple[str, ...]:
    """Runs of letters and digits, in lower case."""
    return tuple(re.findall(r"[^\W_]+", gloss.lower()))


def is_heldout(words: tuple[str, ...]) -> bool:
    """One gloss in ten, by the hash of its words."""
    return hashlib.sha256(" ".join(words).encode()).digest()[0] % 10 == _HELDOUT_TENTH


@lru_cache(maxsize=2)
def wordnet(folder: str = "") -> WordNet:
    """The glosses of a folder, by default where Debian's package puts them. Raises `GatewiseError` without them."""
    root = Path(folder or FOLDER)
    rows: list[tuple[tuple[str, ...], int, int]] = []
    digest = hashlib.sha256()
    for number, part in enumerate(PARTS):
        path = root / f"data.{part}"
        content = _content(path, given=bool(folder))
        digest.update(content)
        rows += [(*found, number) for found in _synsets(path, content)]
    # By their words, not by their place in the files: a batch's rows are then in no order that the classes have.
    rows.sort(key=lambda row: (hashlib.sha256(" ".join(row[0]).encode()).digest(), row[1:]))
    held = [row for row in rows if is_heldout(row[0])]
    trained = [row for row in rows if not is_heldout(row[0])]
    if min(len(held), len(trained)) < _LEAST:
        raise GatewiseError(f"{root} has {len(rows)} glosses, {len(held)} of them held out: too few to train on")
    distinct = len({row[0] for row in rows})
    return WordNet(train=_side(trained), heldout=_side(held), repeated=len(rows) - distinct, sha256=digest.hexdigest())


def _side(rows: list[tuple[tuple[str, ...], int, int]]) -> Glosses:
    words, classes, parts = zip(*rows, strict=True)
    return Glosses(words=words, classes=classes, parts=parts)


def _content(path: Path, *, given: bool) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise GatewiseError(f"{path} is larger than {_LARGEST_BYTES // 2**20} MiB: that is no WordNet")
        return path.read_bytes()
    except OSError as error:
        if given:
            raise GatewiseError(
                f"cannot read {path}: {error.strerror}\nvalid: a folder with WordNet's data.noun, "
                "data.verb, data.adj and data.adv"
            ) from error
        raise GatewiseError(
            f"WordNet is not in {FOLDER}; it comes with: apt install wordnet-base\n"
            "or name a folder with its data.* files: --set subject.options.folder=FOLDER"
        ) from error


def _synsets(path: Path, content: bytes) -> list[tuple[tuple[str, ...], int]]:
    """(words, class) of each line `offset lex_filenum ... | gloss`; the licence's lines start with a blank."""
    found: list[tuple[tuple[str, ...], int]] = []
    for number, line in enumerate(content.decode("utf-8", errors="replace").splitlines(), 1):
        if not line.strip() or line.startswith(" "):
            continue
        head, bar, gloss = line.partition(" | ")
        fields = head.split(" ", 2)
        if not bar or len(fields) < 3 or not fields[1].isdigit() or int(fields[1]) >= len(CLASSES):
            raise GatewiseError(f"{path}, line {number}: not a synset of WordNet: {line[:40]!r}")
        words = words_of(gloss)
        if words:
            found.append((words, int(fields[1])))
    return found


def facts(folder: str = "") -> dict[str, Any]:
    """Where the glosses come from, with their hash, sizes and the split, as plain data."""
    found = wordnet(folder)
    wanted = found.heldout.classes
    return {
        "source": "glosses of WordNet 3.0 (Princeton University, WordNet licence), as Debian's wordnet-base has them",
        "sha256": found.sha256,
        "train_glosses": len(found.train.classes),
        "heldout_glosses": len(wanted),
        "classes": len({*found.train.classes, *wanted}),
        "repeated_glosses": found.repeated,
        "split": "by a hash of the words: the same words are on one side, whatever the synset",
    }
