"""Windows of bytes for `byte-lm`, from one of its sources.

Shapes: B batch, T tokens (one token is one byte).
"""

from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gatewise.core import GatewiseError

from ._file_source import FileText
from ._stdlib_source import StdlibText
from ._synthetic_source import SyntheticText

Batch = tuple[Tensor, Tensor]
"""x_BT and y_BT, int64: the bytes, and the byte that follows each."""

Bytes = np.ndarray[Any, np.dtype[np.uint8]]


class Source(Protocol):
    """Texts to train on, to hold out, and of another kind; deterministic and hashed."""

    def text(self, side: str) -> bytes:
        """The text of `train`, `heldout` or `shifted`. Raises `GatewiseError` where it is not there."""
        ...

    def slices(self) -> tuple[tuple[str, ...], bytes]:
        """The names of the slices, and for each held-out byte which one it is in."""
        ...

    def facts(self) -> dict[str, Any]:
        """Where the texts come from, their sizes and hashes, as plain data."""
        ...


SOURCES: dict[str, Source] = {"stdlib": StdlibText(), "synthetic": SyntheticText()}


@lru_cache(maxsize=4)
def source_of(name: str) -> Source:
    """One of `SOURCES`, or a user's own text as `file:PATH`."""
    kind, _, path = name.partition(":")
    return FileText(path) if kind == "file" else SOURCES[name]


@lru_cache(maxsize=6)
def text_of(source: str, side: str) -> Bytes:
    """One side of a source as numbers."""
    return np.frombuffer(source_of(source).text(side), dtype=np.uint8)


def windows(text: Bytes, starts: np.ndarray[Any, Any], tokens: int) -> Batch:
    """For each start `tokens` bytes, and the same shifted by one. A start is at most len(text) - tokens - 1."""
    window = torch.from_numpy(text[starts[:, None] + np.arange(tokens + 1)].astype(np.int64))
    return window[:, :-1].contiguous(), window[:, 1:].contiguous()


def spread_starts(length: int, count: int, tokens: int) -> np.ndarray[Any, Any]:
    """Where `count` windows start, evenly spread over a text; shuffled once, so any prefix is a fair sample."""
    if count * tokens >= length:
        fewer = max(1, (length - 1) // tokens)
        raise GatewiseError(
            f"the text has {length} bytes: too few for {count} windows of {tokens}\n"
            f"valid: heldout_windows of at most {fewer}, or a shorter context"
        )
    starts = np.linspace(0, length - tokens - 1, count).astype(np.int64)
    return np.random.default_rng(0).permutation(starts)


@lru_cache(maxsize=8)
def spread(source: str, side: str, count: int, batch: int, tokens: int) -> tuple[Batch, ...]:
    """Fixed windows of one side, in batches."""
    text = text_of(source, side)
    starts = spread_starts(len(text), count, tokens)
    return tuple(windows(text, starts[i : i + batch], tokens) for i in range(0, count, batch))


@lru_cache(maxsize=4)
def spread_slices(source: str, count: int, batch: int, tokens: int) -> tuple[tuple[str, ...], tuple[Tensor, ...]]:
    """The names of the slices, and for each y_BT of the held-out windows the index of its bytes' slices."""
    names, marks = source_of(source).slices()
    marked = np.frombuffer(marks, dtype=np.uint8)
    starts = spread_starts(len(marked), count, tokens)
    return names, tuple(windows(marked, starts[i : i + batch], tokens)[1] for i in range(0, count, batch))
