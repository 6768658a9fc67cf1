"""Continuations of the same prompts, side by side by arm. What the models wrote is data: it is escaped everywhere."""

import unicodedata
from dataclasses import dataclass

from . import _facts
from ._facts import Item
from ._read import Document, record, records, text


@dataclass(frozen=True, kw_only=True)
class Continued:
    """One prompt and what each arm wrote after it; an arm without a text has written nothing here."""

    prompt: str
    by_arm: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Generation:
    """The continuations of one part."""

    part: str
    texts: tuple[Continued, ...]
    facts: tuple[Item, ...]


def generations(document: Document) -> tuple[Generation, ...]:
    """The continuations of a document, one a part; nothing in older ones."""
    held = document.get("generation")
    found = records(document, "generation") if isinstance(held, list) else [record(document, "generation")]
    return tuple(made for each in found if (made := _generation(each)).texts)


def written(value: object) -> str:
    """A text with its line ends and blanks; other control characters become U+FFFD, so that none reaches a terminal."""
    raw = "" if value is None else str(value)
    kept = raw.replace("\r\n", "\n").replace("\t", "    ")
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if sign != "\n" and unicodedata.category(sign) in ("Cc", "Cs") else sign
        for sign in kept
    )


def _generation(held: Document) -> Generation:
    texts = [
        Continued(
            prompt=written(each.get("prompt")),
            by_arm=tuple((text(arm), written(said)) for arm, said in record(each, "by_arm").items()),
        )
        for each in records(held, "texts")
    ]
    facts = record(held, "facts")
    return Generation(
        part=text(held.get("part")),
        texts=tuple(each for each in texts if each.by_arm),
        facts=tuple(
            Item(what=text(name).replace("_", " "), why=shown)
            for name, value in facts.items()
            if (shown := _facts.fact(text(name), value))
        ),
    )
