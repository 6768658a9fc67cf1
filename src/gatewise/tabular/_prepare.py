"""From a file to rows that can be learnt from: target, columns, copies, leaks, splits. No model is trained here."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gatewise.core import GatewiseError, unknown_name

from ._columns import Column, columns, named_id
from ._features import dates
from ._leaks import Leak, duplicates, leaks
from ._plan import MOST_ROWS, TablePlan
from ._read import File
from ._split import FOLDS, SMALL, Split, cross_validation, groups_of, random_split, strata_of, time_split
from ._target import Target, target

_MANY_NAMES, _MOST_NAMES = 20, 0.9
"""How many different names, and for what share of the rows at most, make a column one of customers with several."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """What is learnt from.

    Attributes:
        columns: every column of the file but the target, with what became of it.
        used: those that the models see. `cells`: theirs, a list for each column, by usable row.
        y: targets, float64. `groups`: the same number for rows that must stay together.
        splits: one or two. `findings`, `warnings`: sentences for the page, and for its head.
    """

    file: File
    target: Target
    columns: tuple[Column, ...]
    used: tuple[Column, ...]
    cells: tuple[tuple[str, ...], ...]
    y: np.ndarray
    groups: np.ndarray
    strata: np.ndarray
    splits: tuple[Split, ...]
    leaks: tuple[Leak, ...]
    findings: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """0 where values are predicted."""
        return len(self.target.classes)

    def rows(self, places: np.ndarray) -> list[list[str]]:
        """The used cells of some rows, by column."""
        wanted = places.tolist()
        return [[cells[place] for place in wanted] for cells in self.cells]


def prepare(file: File, plan: TablePlan) -> Table:
    """Look at a file under a plan. Raises `GatewiseError` where there is nothing to learn or a name is unknown."""
    for name in (*plan.drop, *plan.keep, *filter(None, (plan.group, plan.time))):
        if name not in file.columns:
            raise unknown_name("column", name, file.columns)
    found = columns(file)
    wanted = target(file, found, plan.target, plan.task)
    wanted, notes = _sampled(wanted, plan.seed)
    others = tuple(_asked(each, plan) for each in found if each.name != plan.target)
    candidates = [each for each in others if each.used]
    held = {each.name: _cells(file, each, wanted.rows) for each in others}
    if not candidates:
        raise GatewiseError(f"no column is left to predict {plan.target!r} from: {_left_out(others)}")
    rows = [tuple(held[each.name][row] for each in candidates) for row in range(len(wanted.rows))]
    groups = groups_of(rows)
    copies = duplicates(rows, groups, wanted.values)
    if plan.group is not None:
        groups = _joined(groups, groups_of([(cell,) for cell in held[plan.group]]))
    strata = strata_of(wanted.values, classes=bool(wanted.classes))
    split = random_split(groups, strata, plan.seed)
    if len(split.heldout) < 15 or len(split.train) < 30:
        raise GatewiseError(
            f"too few different rows: {len(split.train)} to train and {len(split.heldout)} to hold out\n"
            "valid: at least 60 rows that are not copies of each other"
        )
    leaking = leaks(
        candidates,
        [[held[each.name][place] for place in split.train.tolist()] for each in candidates],
        wanted.values[split.train],
        classes=len(wanted.classes),
        target=plan.target,
    )
    gone = {name: leak.says for leak in leaking if leak.left_out for name in leak.columns}
    gone = {name: says for name, says in gone.items() if name not in plan.keep}
    others = tuple(replace(each, used=False, why=gone[each.name]) if each.name in gone else each for each in others)
    used = tuple(each for each in others if each.used)
    if not used:
        raise GatewiseError(f"no column is left to predict {plan.target!r} from: {_left_out(others)}")
    split = _validated(split, plan, groups=groups, strata=strata)
    splits, about_time = _splits(split, plan, others, held, groups=groups, strata=strata, wanted=wanted)
    return Table(
        file=file,
        target=wanted,
        columns=others,
        used=used,
        cells=tuple(held[each.name] for each in used),
        y=wanted.values,
        groups=groups,
        strata=strata,
        splits=splits,
        leaks=tuple(leaking),
        findings=(*file.notes, *wanted.notes, *notes, *copies, *about_time),
        warnings=() if plan.group else _several(used, len(wanted.rows)),
    )


def _sampled(wanted: Target, seed: int) -> tuple[Target, list[str]]:
    if len(wanted.rows) <= MOST_ROWS:
        return wanted, []
    chosen = np.sort(np.random.default_rng(seed).choice(len(wanted.rows), MOST_ROWS, replace=False))
    said = f"The file has {len(wanted.rows):,} rows; {MOST_ROWS:,} of them, drawn at random, were used."
    return replace(wanted, rows=wanted.rows[chosen], values=wanted.values[chosen]), [said]


def _asked(column: Column, plan: TablePlan) -> Column:
    if column.name in plan.drop:
        return replace(column, used=False, why="It was left out because you asked for it.")
    if column.name == plan.group:
        return replace(column, used=False, why="Rows with the same value were kept together; it is no feature.")
    if column.name in plan.keep and column.kind in ("identifier", "constant"):
        return replace(column, kind="category", used=True, why="It was kept because you asked for it.")
    return column


def _cells(file: File, column: Column, rows: np.ndarray) -> tuple[str, ...]:
    return tuple(file.rows[place][column.index] for place in rows.tolist())


def _left_out(others: Sequence[Column]) -> str:
    return "; ".join(f"{each.name!r}: {each.why}" for each in others[:3]) + (" …" if len(others) > 3 else "")


def _joined(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Groups that hold together what either holds together: connected components of both."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    first, second = int(one.max()) + 1, int(other.max()) + 1
    links = coo_matrix((np.ones(len(one)), (one, first + other)), shape=(first + second, first + second))
    return np.asarray(connected_components(links, directed=False)[1])[one]


def _several(used: Sequence[Column], num_rows: int) -> tuple[str, ...]:
    """A warning for each column that seems to name somebody who has several rows."""
    found = [each for each in used if each.kind in ("number", "category") and named_id(each.name)]
    return tuple(
        f"{each.name!r} seems to name what has several rows. If so, a model is asked about the very ones that it "
        f"learnt from, and every figure here is too good: keep them together with --set group={each.name}"
        for each in found
        if _MANY_NAMES < each.distinct < _MOST_NAMES * (num_rows - each.missing)
    )


def _validated(split: Split, plan: TablePlan, *, groups: np.ndarray, strata: np.ndarray) -> Split:
    """Repeated cross-validation instead of one held-out quarter, where the rows are few or it was asked for."""
    different = len(np.unique(groups))
    folds = plan.folds if plan.folds is not None else FOLDS if 2 * FOLDS <= different < SMALL else 0
    if folds > different:
        raise GatewiseError(f"--set folds={folds}: only {different} groups of rows can be told apart")
    if not folds:
        return split
    return cross_validation(groups, strata, folds, (plan.seeds + 1) // 2, plan.seed)


def _splits(
    split: Split,
    plan: TablePlan,
    others: Sequence[Column],
    held: dict[str, tuple[str, ...]],
    *,
    groups: np.ndarray,
    strata: np.ndarray,
    wanted: Target,
) -> tuple[tuple[Split, ...], list[str]]:
    """The random split, and one by time where a column holds dates."""
    dated = [each for each in others if each.kind == "date"]
    if plan.time is not None and plan.time not in [each.name for each in dated]:
        raise GatewiseError(f"--set time={plan.time}: this column holds no dates")
    if plan.time is None:
        dated = sorted(dated, key=lambda each: (-each.distinct, each.index))
    else:
        dated = [each for each in dated if each.name == plan.time]
    if not dated:
        return (split,), []
    column = dated[0]
    days = dates(column, held[column.name])
    newest = time_split(days, groups, strata, classes=bool(wanted.classes))
    if isinstance(newest, str):
        return (split,), [newest]
    return (split, newest), [
        f"The split by time goes by {column.name!r}; rows since {newest.since} are held out in it."
    ]


def seed_of(*parts: object) -> int:
    """A seed from plain values, the same on every machine."""
    return zlib.crc32("\0".join(map(str, parts)).encode()) & 0x7FFFFFFF
