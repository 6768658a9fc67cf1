"""A user's own texts and labels from CSV or JSONL, and how well frozen outputs tell the labels apart."""

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gatewise.core import GatewiseError, unknown_name

FEWEST = 40


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Texts with their labels, in the order of a fixed shuffle; the first half trains a probe, the second judges it."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    sha256: str
    duplicates: int

    @property
    def half(self) -> int:
        """The number of items in the first half."""
        return len(self.texts) // 2


def _rows(path: Path, content: str) -> list[dict[str, object]]:
    if path.suffix.lower() == ".csv":
        return [dict(row) for row in csv.DictReader(io.StringIO(content))]
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        rows: list[dict[str, object]] = []
        for number, line in enumerate(content.splitlines(), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise GatewiseError(f"{path}, line {number}: not JSON ({error.msg})") from error
            if not isinstance(row, dict):
                raise GatewiseError(
                    f"{path}, line {number}: each line must be an object with fields, not {line[:40]!r}"
                )
            rows.append(row)
        return rows
    raise GatewiseError(f"data must be a .csv or .jsonl file, not {path.name!r}")


def read_labelled(path: Path, text: str, target: str) -> Labelled:
    """Read texts and labels; identical texts are kept once, so that none stands in both halves.

    Raises:
        GatewiseError: a missing file, an unknown column, an empty cell, one label only, fewer than 40 items.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise GatewiseError(f"cannot read the data {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise GatewiseError(f"the data {path} is not UTF-8 text") from error
    rows = _rows(path, content)
    if not rows:
        raise GatewiseError(f"{path} holds no rows")
    for column in (text, target):
        if column not in rows[0]:
            raise unknown_name(f"column in {path.name}", column, map(str, rows[0]))
    items: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        body, label = row.get(text), row.get(target)
        if body in (None, "") or label in (None, ""):
            raise GatewiseError(f"{path}, row {number}: {text!r} or {target!r} is empty")
        items.setdefault(str(body), str(label))
    if len(items) < FEWEST:
        raise GatewiseError(f"{path} has {len(items)} different texts; quality needs at least {FEWEST}")
    if len(set(items.values())) < 2:
        raise GatewiseError(f"{path}: all rows have the same {target!r}; quality needs two labels or more")
    # A shuffle by content: the same file gives the same halves everywhere, whatever the order of its rows.
    order = sorted(items, key=lambda body: hashlib.sha256(body.encode()).digest())
    return Labelled(
        texts=tuple(order),
        labels=tuple(items[body] for body in order),
        sha256=hashlib.sha256(content.encode()).hexdigest(),
        duplicates=len(rows) - len(items),
    )


def chance(labels: Sequence[str]) -> float:
    """The share of the most frequent label."""
    return Counter(labels).most_common(1)[0][1] / len(labels)


def probe_scores(features: Tensor, data: Labelled) -> tuple[float, ...]:
    """1.0 or 0.0 for each held-out item: a ridge classifier on frozen features, fitted on the first half.

    Closed form, float64, features standardised on the first half, ridge = items / 100; so it has no seed.
    """
    names = sorted(set(data.labels[: data.half]))
    index = {name: i for i, name in enumerate(names)}
    x = features.double()
    train = x[: data.half]
    x = (x - train.mean(0)) / train.std(0).clamp_min(1e-9)
    x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    y = torch.zeros(data.half, len(names), dtype=x.dtype)
    for row, label in enumerate(data.labels[: data.half]):
        y[row, index[label]] = 1.0
    gram = x[: data.half].T @ x[: data.half] + data.half / 100 * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(gram, x[: data.half].T @ y)
    answers = (x[data.half :] @ weights).argmax(1).tolist()
    return tuple(float(names[a] == label) for a, label in zip(answers, data.labels[data.half :], strict=True))
