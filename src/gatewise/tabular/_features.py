"""From cells to numbers that models take. Everything that is learnt here is learnt from the training rows alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ._columns import Column
from ._values import folded, is_missing

_MOST_LEVELS = 40
_FEWEST_OF_LEVEL = 5
_FEW_WHOLE = 30
_WORDS, _MOST_WORDS = 300, 20_000
_FAR = 5.0
"""A value so many standard deviations off stands at that distance: an outlier in a new file breaks nothing."""

_SKEWED = 2.0


class Encoder(Protocol):
    """One column, fitted."""

    def encode(self, cells: Sequence[str]) -> np.ndarray:
        """Cells to float32 numbers, shape (rows, features)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Levels:
    """One feature for each category that is frequent enough, one for all others, one for a missing value.

    Capitals and spaces do not tell categories apart; `levels` are folded.
    """

    levels: tuple[str, ...]

    def encode(self, cells: Sequence[str]) -> np.ndarray:
        place = {level: index for index, level in enumerate(self.levels)}
        found = np.zeros((len(cells), len(self.levels) + 2), dtype=np.float32)
        for row, cell in enumerate(cells):
            found[row, place.get(folded(cell), len(self.levels)) if not is_missing(cell) else len(self.levels) + 1] = (
                1.0
            )
        return found


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """Values by mean and spread, the median where one is missing, and a feature that says that it was missing."""

    median: float
    mean: float
    spread: float
    log: bool

    def scale(self, values: np.ndarray) -> np.ndarray:
        """Values, NaN where missing, to float32 of shape (rows, 2)."""
        missing = ~np.isfinite(values)
        filled = _log(np.where(missing, self.median, values), log=self.log)
        scaled = np.clip((filled - self.mean) / self.spread, -_FAR, _FAR)
        return np.stack([scaled, missing], axis=1).astype(np.float32)


def fit_scaled(values: np.ndarray) -> Scaled:
    """The scale of a column; one that leans far to the right is taken by its logarithm."""
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return Scaled(median=0.0, mean=0.0, spread=1.0, log=False)
    median = float(np.median(known))
    spread = float(known.std())
    log = bool(known.min() >= 0 and spread > 0 and ((known - known.mean()) ** 3).mean() > _SKEWED * spread**3)
    filled = _log(known, log=log)
    return Scaled(median=median, mean=float(filled.mean()), spread=float(filled.std()) or 1.0, log=log)


def _log(values: np.ndarray, *, log: bool) -> np.ndarray:
    return np.sign(values) * np.log1p(np.abs(values)) if log else values


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A column of numbers; few whole ones (a month, an hour, a grade) are categories as well."""

    column: Column
    scaled: Scaled
    levels: Levels | None

    def encode(self, cells: Sequence[str]) -> np.ndarray:
        values = numbers(self.column, cells)
        found = self.scaled.scale(values)
        if self.levels is None:
            return found
        return np.concatenate([found, self.levels.encode(_whole(values))], axis=1)


@dataclass(frozen=True, kw_only=True)
class Dates:
    """A day as the time elapsed, its month, its weekday, and its hour where there is one."""

    column: Column
    elapsed: Scaled
    clock: bool

    def encode(self, cells: Sequence[str]) -> np.ndarray:
        days = dates(self.column, cells)
        known = np.isfinite(days)
        whole = np.floor(np.where(known, days, 0.0)).astype(np.int64)
        month = whole.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
        year = whole.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64)
        parts = [self.elapsed.scale(days), (year[:, None] - 45.0) / 10.0]
        parts += [np.eye(12)[month] * known[:, None], np.eye(7)[(whole + 3) % 7] * known[:, None]]
        if self.clock:
            angle = 2.0 * np.pi * (np.where(known, days, 0.0) % 1.0)
            parts.append(np.stack([np.sin(angle), np.cos(angle)], axis=1) * known[:, None])
        return np.concatenate(parts, axis=1).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Words:
    """TF-IDF of the words and pairs of words that tell most of the target on the training rows, and the length."""

    vectorizer: Any
    chosen: np.ndarray
    length: Scaled

    def encode(self, cells: Sequence[str]) -> np.ndarray:
        texts = ["" if is_missing(cell) else cell for cell in cells]
        length = self.length.scale(np.asarray([float(len(text)) for text in texts]))
        if len(self.chosen) == 0:
            return length
        found = self.vectorizer.transform(texts)[:, self.chosen].toarray()
        return np.concatenate([found.astype(np.float32), length], axis=1)


def numbers(column: Column, cells: Sequence[str]) -> np.ndarray:
    """The numbers of a column, float64, NaN where there is none."""
    parsed = (None if is_missing(cell) else column.number.parse(cell) for cell in cells)
    return np.asarray([np.nan if value is None else value for value in parsed], dtype=np.float64)


def dates(column: Column, cells: Sequence[str]) -> np.ndarray:
    """The dates of a column in days since 1970, float64, NaN where there is none."""
    parsed = (None if is_missing(cell) else column.date.parse(cell) for cell in cells)
    return np.asarray([np.nan if value is None else value for value in parsed], dtype=np.float64)


def _whole(values: np.ndarray) -> list[str]:
    return [f"{value:.0f}" if np.isfinite(value) and value == round(value) else "" for value in values.tolist()]


def fit_levels(cells: Sequence[str]) -> Levels:
    """The most frequent categories, each with at least five rows (or one in two hundred)."""
    counts = Counter(folded(cell) for cell in cells if not is_missing(cell))
    fewest = max(_FEWEST_OF_LEVEL, len(cells) // 200)
    ordered = sorted((level for level in counts if counts[level] >= fewest), key=lambda level: (-counts[level], level))
    return Levels(levels=tuple(sorted(ordered[:_MOST_LEVELS])))


def _fit_numbers(column: Column, cells: Sequence[str]) -> Numbers:
    values = numbers(column, cells)
    known = values[np.isfinite(values)]
    few = len(set(known.tolist())) <= _FEW_WHOLE and bool((known == np.round(known)).all())
    levels = fit_levels(_whole(values)) if few and len(known) else None
    return Numbers(column=column, scaled=fit_scaled(values), levels=levels)


def _fit_dates(column: Column, cells: Sequence[str]) -> Dates:
    days = dates(column, cells)
    known = days[np.isfinite(days)]
    return Dates(column=column, elapsed=fit_scaled(days), clock=bool(len(known) and (known % 1.0).std() > 0.0))


def _fit_words(cells: Sequence[str], y: np.ndarray, *, classes: bool) -> Words:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.feature_selection import f_classif, f_regression

    texts = ["" if is_missing(cell) else cell for cell in cells]
    spaced = sum(text.count(" ") for text in texts) > len(texts)
    kind: dict[str, Any] = {"analyzer": "word", "token_pattern": r"(?u)\b\w+\b"} if spaced else {"analyzer": "char"}
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), min_df=3, max_features=_MOST_WORDS, sublinear_tf=True, strip_accents="unicode", **kind
    )
    try:
        found = vectorizer.fit_transform(texts)
        scores = np.nan_to_num((f_classif if classes else f_regression)(found, y)[0])
        chosen = np.sort(np.argsort(-scores, kind="stable")[:_WORDS])
    except ValueError:  # no word in three rows
        chosen = np.zeros(0, dtype=np.int64)
    length = fit_scaled(np.asarray([float(len(text)) for text in texts]))
    return Words(vectorizer=vectorizer, chosen=chosen, length=length)


@dataclass(frozen=True, kw_only=True)
class Features:
    """All used columns, fitted on training rows.

    `lean` are the features (by their place in what `encode` gives) without the categories of columns of numbers: a tree
    cuts a number anywhere and needs no feature for each of its values.
    """

    columns: tuple[Column, ...]
    encoders: tuple[Encoder, ...]
    kept: np.ndarray
    lean: np.ndarray

    def encode(self, cells: Sequence[Sequence[str]]) -> np.ndarray:
        """Cells by column (as many lists as columns) to float32 numbers, shape (rows, features)."""
        parts = [encoder.encode(column) for encoder, column in zip(self.encoders, cells, strict=True)]
        return np.ascontiguousarray(np.concatenate(parts, axis=1)[:, self.kept])


def fit(columns: Sequence[Column], cells: Sequence[Sequence[str]], y: np.ndarray, *, classes: bool) -> Features:
    """Fit every column on the training rows: `cells` by column, `y` their targets. Constant features are left out."""
    encoders: list[Encoder] = []
    for column, held in zip(columns, cells, strict=True):
        if column.kind == "number":
            encoders.append(_fit_numbers(column, held))
        elif column.kind == "date":
            encoders.append(_fit_dates(column, held))
        elif column.kind == "text":
            encoders.append(_fit_words(held, y, classes=classes))
        else:
            encoders.append(fit_levels(held))
    parts = [encoder.encode(held) for encoder, held in zip(encoders, cells, strict=True)]
    whole = np.concatenate(parts, axis=1)
    plain = np.concatenate([_plain(encoder, part.shape[1]) for encoder, part in zip(encoders, parts, strict=True)])
    kept = np.flatnonzero(whole.max(axis=0) > whole.min(axis=0))
    lean = np.flatnonzero(plain[kept])
    return Features(columns=tuple(columns), encoders=tuple(encoders), kept=kept, lean=lean)


def _plain(encoder: Encoder, width: int) -> np.ndarray:
    """Which features of a column a tree gets."""
    return np.arange(width) < (2 if isinstance(encoder, Numbers) else width)
