"""What requests cost, from times that were measured and a price and a utilisation that the plan states."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from ._cells import cells
from ._record import Record


def million_requests(record: Record, conditions: Mapping[str, Any]) -> dict[str, float]:
    """What a million requests cost by run arm: machine time of the median call at the plan's price and utilisation.

    `conditions` are those of one cell. Empty without [cost] or without a utilisation, and where nothing was timed.
    """
    cost, measured = record.part.cost, record.part.measure
    if cost is None or cost.utilisation == 0 or measured is None:
        return {}
    found: dict[str, float] = {}
    cell = next((cell for cell in cells(measured) if cell.conditions == conditions and cell.call == "forward"), None)
    rows = [row for _, row in record.numbered(cell.id)] if cell else []
    for arm in record.arms:
        values = [median(row["values"][arm.label]) for row in rows if arm.label in row["values"]]
        if values and cell:
            hours = median(values) / cell.batch / 3600 / cost.utilisation
            found[arm.label] = 1e6 * hours * cost.price_per_hour
    return found
