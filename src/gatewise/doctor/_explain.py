"""What computes here: the native kernels, and the ways that were chosen by measuring. Reads one file; no torch."""

from datetime import UTC, datetime
from typing import Any

from gatewise import kernels

from ._look import SCHEMA


def explain() -> dict[str, Any]:
    """Which kernels run on this machine and which ways were chosen (schema `gatewise.doctor/1`, `kind = "explain"`).

    The rest is what `kernels.explain` returns. Raises `GatewiseError` where GATEWISE_CHOOSE names what nobody knows.
    """
    from gatewise import __version__

    return {
        "schema": SCHEMA,
        "kind": "explain",
        "gatewise": __version__,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **kernels.explain(),
    }
