"""Error rates as numbers of test items: what a gap of a tenth of a percent is, and what test size the digits imply."""

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ._pairs import Pair, all_pairs
from ._result import Result
from ._table import Printed, Table

if TYPE_CHECKING:
    import numpy as np


def count_results(table: Table) -> Iterator[Result]:
    """The gap of every pair in test items, and the test sizes that the printed percentages imply."""
    if table.items is None:
        raise ValueError("no items")
    for pair in all_pairs(table):
        yield _gap(table, pair, table.items)
    sizes = _sizes(table, table.items)
    if sizes is not None:
        yield sizes


def item_counts(percentage: Printed, items: int) -> list[int]:
    """The whole numbers of items that print as this percentage; none where no whole number does."""
    low, high = percentage.low * items / 100, percentage.high * items / 100
    return list(range(max(math.ceil(low - 1e-9), 0), min(math.floor(high + 1e-9), items) + 1))


def _gap(table: Table, pair: Pair, items: int) -> Result:
    arms = [table.arm(name) for name in pair.names]
    errors = [item_counts(arm.mean, items) for arm in arms]
    gaps = sorted({abs(b - a) for a, b in itertools.product(*errors)})
    # Drawn anew, the test set alone would move the gap by this much, if the two arms' errors were independent.
    sampling = math.sqrt(items * sum(arm.mean.value / 100 * (1 - arm.mean.value / 100) for arm in arms))
    evidence, reason, value = pair.evidence, pair.reason, abs(pair.difference) * items / 100
    if pair.evidence == "cannot tell":
        reason += "; which items were wrong is not published, so no paired test; another draw of the items"
        reason += f" alone moves an unpaired gap by an SD of {sampling:.0f}"
    odd = [arm.name for arm, counts in zip(arms, errors, strict=True) if not counts]
    if odd:
        # Then these are no shares of these items, and whatever a test said of the figures is not about items.
        evidence, value = "cannot tell", None
        reason = f"no whole number of {items} items prints as the figure of {' and '.join(odd)}; {reason}"
    return Result(
        table=table.name,
        analysis="error-counts",
        quantity=f"{pair.label}, {table.name}: gap in test items",
        value=gaps[0] if len(gaps) == 1 else value,
        unit=f"of {items} items",
        evidence=evidence,
        reason=reason,
        detail={
            "pair": list(pair.names),
            "better": pair.winner(table.better),
            "items_counted": errors,
            "possible_gaps": gaps,
            "items_source": table.items_source,
            "sampling_sd": sampling,
        },
    )


def _sizes(table: Table, items: int) -> Result | None:
    """Which test sizes print these percentages while the smallest gap is what `items` makes of it."""
    pairs = itertools.combinations(table.arms, 2)
    closest = min(pairs, key=lambda pair: abs(pair[0].mean.minus(pair[1].mean)), default=None)
    if closest is None:
        return None
    gap = round(abs(closest[0].mean.minus(closest[1].mean)) * items / 100)
    if gap == 0:
        return None
    sizes = _sizes_that_print(table, closest[0].mean, closest[1].mean, gap, most=2 * items)
    fits = items in sizes
    reason = f"{len(sizes)} sizes print these percentages with a gap of {gap} ({closest[0].name} vs {closest[1].name})"
    reason += f"; {items} is {'one' if fits else 'none'} of them"
    reason += f" ({table.items_source})" if table.items_source else ""
    return Result(
        table=table.name,
        analysis="error-counts",
        quantity=f"test items that a gap of {gap} implies, {table.name}",
        value=items if fits else None,
        unit="items",
        evidence="established" if fits else "not established",
        reason=reason,
        interval=(sizes[0], sizes[-1]) if sizes else None,
        detail={"items": items, "items_source": table.items_source, "sizes": len(sizes), "gap": gap, "fits": fits},
    )


def _sizes_that_print(table: Table, first: Printed, second: Printed, gap: int, most: int) -> list[int]:
    import numpy as np

    sizes = np.arange(1, most + 1)
    possible = np.ones(len(sizes), dtype=bool)
    for arm in table.arms:
        low, high = _edges(arm.mean, sizes)
        possible &= low <= high
    (low_1, high_1), (low_2, high_2) = _edges(first, sizes), _edges(second, sizes)
    # Whole numbers of two ranges can be any distance apart that lies between their nearest and farthest ends.
    apart = ((low_2 - high_1 <= gap) & (gap <= high_2 - low_1)) | ((low_1 - high_2 <= gap) & (gap <= high_1 - low_2))
    return [int(size) for size in sizes[possible & apart]]


def _edges(percentage: Printed, sizes: "np.ndarray[Any, Any]") -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    import numpy as np

    low, high = np.ceil(percentage.low * sizes / 100 - 1e-9), np.floor(percentage.high * sizes / 100 + 1e-9)
    return np.maximum(low, 0), np.minimum(high, sizes)
