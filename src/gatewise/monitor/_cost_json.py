"""A bill as plain data: the meter, the shares, and money where there is a price."""

from typing import Any

from ._cost import HOURS_A_MONTH, Bill, Share

_HOUR_NS = 3600 * 10**9


def bill_json(bill: Bill) -> dict[str, Any]:
    """The bill as JSON values. An amount that cannot be is null: no price, or nothing answered."""
    machine = bill.machine
    answers = sum(share.answers for share in bill.shares)
    return {
        "cores": machine.cores,
        "price_per_hour": machine.price_per_hour,
        "currency": machine.currency,
        "idle_rule": machine.idle,
        "start_ns": bill.start_ns,
        "end_ns": bill.end_ns,
        "meter_core_ns": bill.meter_ns,
        "claimed_core_ns": bill.claimed_ns,
        "oversubscribed": bill.oversubscribed,
        "unassigned_core_ns": bill.unassigned_ns,
        "utilisation": bill.utilisation,
        "shadow_share": sum(share.shadow_ns for share in bill.shares) / bill.meter_ns,
        "answers": answers,
        "amounts": _amounts(bill, bill.meter_ns, answers),
        "versions": [_share(bill, share) for share in bill.shares],
    }


def _share(bill: Bill, share: Share) -> dict[str, Any]:
    runs = share.answers + share.shadow_runs
    return {
        "model": share.model,
        "version": share.version,
        "threads": share.threads,
        "live_core_ns": share.live_ns,
        "canary_core_ns": share.canary_ns,
        "shadow_core_ns": share.shadow_ns,
        "wasted_core_ns": share.wasted_ns,
        "idle_core_ns": share.idle_ns,
        "total_core_ns": share.total_ns,
        "share": share.total_ns / bill.meter_ns,
        "answers": share.answers,
        "shadow_runs": share.shadow_runs,
        "unanswered": share.unanswered,
        "utilisation": share.utilisation,
        "busy_core_s_per_run": (share.busy_ns - share.wasted_ns) / 1e9 / runs if runs else None,
        "amounts": _amounts(bill, share.total_ns, share.answers),
    }


def _amounts(bill: Bill, core_ns: int, answers: int) -> dict[str, float | None]:
    """What a part of the meter comes to. A month is one at this traffic and on this machine."""
    seconds = core_ns / 1e9 / answers if answers else None
    price = bill.machine.price_per_hour
    if price is None:
        return {"core_s_per_request": seconds, "per_request": None, "per_million": None, "per_month": None}
    paid = price * core_ns / bill.machine.cores / _HOUR_NS
    each = paid / answers if answers else None
    return {
        "core_s_per_request": seconds,
        "per_request": each,
        "per_million": None if each is None else 1e6 * each,
        "per_month": price * HOURS_A_MONTH * (core_ns / bill.meter_ns),
    }
