"""Real English sentences that every machine has: the prose of the language reference that ships inside Python.

`pydoc_data/topics.py` is part of every CPython; its text differs a little between versions, so what was read is hashed.
"""

import ast
import hashlib
import re
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gatewise.core import GatewiseError

SOURCE = "pydoc_data/topics.py"
FEWEST = 400


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """Sentences in a fixed order, and the hash of them all."""

    texts: tuple[str, ...]
    sha256: str
    source: str


def extract(prose: str) -> list[str]:
    """Sentences of running prose: 6 to 40 words, mostly letters, with a capital first and a full stop last."""
    found: dict[str, None] = {}
    for paragraph in re.split(r"\n\s*\n", prose):
        lines = paragraph.split("\n")
        if any(re.match(r"\s*(>>>|\.\.\.|[-=*+~]{3,}|\.\. )", line) for line in lines):
            continue  # code, tables, rulings
        text = re.sub(r"[*\"`_]+", "", " ".join(line.strip() for line in lines))
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", text):
            words = sentence.split()
            letters = sum(char.isalpha() or char.isspace() for char in sentence)
            if 6 <= len(words) <= 40 and re.match(r"[A-Z].*\.$", sentence) and letters / len(sentence) > 0.93:
                found[sentence] = None
    return list(found)


@cache
def sentences() -> Sentences:
    """All sentences of this Python's reference. Raises `GatewiseError` when the file is missing."""
    path = Path(sysconfig.get_paths()["stdlib"]) / SOURCE
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GatewiseError(f"the built-in sentences come with Python as {SOURCE}, which this Python lacks") from error
    prose = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    texts = tuple(extract("\n\n".join(prose)))
    if len(texts) < FEWEST:
        raise GatewiseError(f"{path} yields {len(texts)} sentences; at least {FEWEST} are needed")
    return Sentences(texts=texts, sha256=hashlib.sha256("\n".join(texts).encode()).hexdigest(), source=SOURCE)
