"""What `gatewise scenarios` prints: the answer first, then its evidence, then money."""

import math
from typing import Any

NEAR = 0.05
"""A confirmed rate this near to the edge is near enough."""


def _ms(seconds: float | None) -> str:
    return "?" if seconds is None else f"{1e3 * seconds:.3g} ms"


def _percentile_line(each: dict[str, Any]) -> str:
    low, high = each["low_s"], each["high_s"]
    open_end = f"; a closed interval takes {each['needs']} queries" if each["needs"] is not None else ""
    interval = f"{_ms(low)} – {_ms(high)}"
    return f"p{100 * each['percentile']:g} {_ms(each['value_s'])} (interval {interval}, n = {each['n']:,}{open_end})"


def lines(document: dict[str, Any]) -> list[str]:
    """The terminal's lines."""
    asked, found = document["asked"], document["result"]
    if document["hybrid"]:
        return _hybrid_lines(asked, document["hybrid"])
    threads = f"{asked['threads']} thread{'s' if asked['threads'] > 1 else ''}"
    said = [f"{asked['model']} on {document['implementation']}, {threads}, {asked['tokens']} tokens"]
    if document["batches"]:
        tried = ", ".join(
            f"{each['batch']}: {each['samples_per_s']:.4g}/s{'' if each['keeps'] else ' (over the limit)'}"
            for each in document["batches"]["trials"]
        )
        said.append(f"Batch {asked['batch']}, the fastest whose calls keep the limit ({tried})")
    if asked["scenario"] == "server":
        said += _server_lines(asked, found)
    elif asked["scenario"] == "offline":
        spread = (
            "no interval: " + found["reason"]
            if found["interval"] is None
            else "interval {:.4g} – {:.4g}".format(*found["interval"])
        )
        said.append(f"Offline: {found['samples_per_s']:.4g} samples/s in batches of {found['batch']} ({spread})")
    else:
        said.append(f"{found['scenario']}: {found['queries']:,} queries of {found['samples']}, one after the other")
        said += [f"  {_percentile_line(each)}" for each in found["percentiles"]]
    if document["edge"]:
        said += _edge_lines(document["edge"])
    if document["cost"]:
        said += _cost_lines(document["cost"])
    return said + (_payback_lines(document["break_even"], asked) if document["break_even"] else [])


def _server_lines(asked: dict[str, Any], found: dict[str, Any]) -> list[str]:
    limit = f"p{100 * asked['percentile']:g} of at most {_ms(asked['p99_s'])}"
    evidence, latency = found["evidence"], found["latency"]
    if found["verdict"] == "holds":
        lines = [f"Server: {found['rate']:.4g} queries/s hold with {limit}"]
    elif found["verdict"] == "fails":
        lines = [f"Server: no rate holds with {limit}: {found['reason']}"]
    else:
        lines = [f"Server: undecided, no rate was confirmed with {limit}: {found['reason']}"]
    if evidence:
        allowed = "" if evidence["allowed"] is None else f" ({evidence['allowed']:,} allowed)"
        lines.append(f"  evidence: {evidence['n']:,} queries, {evidence['over']:,} over the limit{allowed}")
        if evidence["needs"]:
            lines.append(f"  it would take about {evidence['needs']:,} queries: a longer --budget")
    if latency:
        lines.append(f"  {_percentile_line(latency)}")
    if found["full_queries"]:
        lines.append(
            f"  by the rule for independent queries; slow ones come in clumps here, and to count those takes "
            f"about {found['full_queries']:,} queries"
        )
    if found["edge"]:
        fails = f"; shown to fail at {found['fails_at']:.4g}" if found["fails_at"] else ""
        lines.append(f"  the limit itself is met at about {found['edge']:.4g} queries/s (estimate){fails}")
        careful = 1 - found["rate"] / found["edge"] if found["rate"] else 0.0
        if careful > NEAR:
            budget_s = found["seconds"] * (careful / NEAR) ** 2  # what chance leaves open falls as 1 / sqrt(queries)
            lines.append(
                f"  the rate that holds lies {100 * careful:.0f} % below it: that is what so few queries can show; "
                f"--budget {math.ceil(round(budget_s / 60, 3))}m would bring it to about {100 * NEAR:g} %"
            )
    return lines


def _edge_lines(edge: dict[str, Any]) -> list[str]:
    size = "no file" if edge["size_bytes"] is None else f"{edge['size_bytes'] / 1e6:.1f} MB ({edge['size_of']})"
    cap = ""
    if edge["cap_bytes"] is not None:
        cap = f", {'within' if edge['within_cap'] else 'OVER'} the cap of {edge['cap_bytes'] / 1e6:.0f} MB"
    return [
        f"Edge: cold start {_ms(edge['cold_start']['value_s'])} (median of {edge['cold_start']['n']} processes, "
        f"{_ms(edge['cold_start']['low_s'])} – {_ms(edge['cold_start']['high_s'])}), of it loading "
        f"{_ms(edge['load']['value_s'])}",
        f"  peak memory {edge['peak_bytes'] / 1e6:.0f} MB{cap}; size {size}",
        f"  {edge['note']}",
    ]


def _cost_lines(cost: dict[str, Any]) -> list[str]:
    if "reason" in cost:
        return [cost["reason"]]
    pricing = cost["pricing"]

    def money(amount: dict[str, Any]) -> str:
        return _money(amount, pricing["currency"])

    stated = f"{pricing['price_per_hour']:g} an hour, loaded to {100 * pricing['utilisation']:g} % at the peak"
    lines = [f"Cost at {stated}: {money(cost['per_million'])} a million requests"]
    if cost["whole_fleet"]:
        many = f"{cost['machines']} machine{'s' if cost['machines'] > 1 else ''}"
        lines.append(f"  {many}, {money(cost['per_month'])} a month; {money(cost['per_request'])} a request")
    else:
        lines.append("  one machine with as many requests as that allows; --set requests_per_month=N for your traffic")
    return lines


def _money(amount: dict[str, Any], currency: str) -> str:
    text = f"{amount['value']:.4g} {currency}"
    return text if amount["interval"] is None else text + " ({:.4g} – {:.4g})".format(*amount["interval"])


def _payback_lines(found: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    even, currency = found["even"], asked["currency"]
    saved = {"value": 1e6 * even["saving_per_request"]["value"], "interval": None}
    if even["saving_per_request"]["interval"] is not None:
        saved["interval"] = [1e6 * end for end in even["saving_per_request"]["interval"]]
    said = [
        f"Break-even of {even['extra']:.4g} {currency} of training ({asked['training_hours']:g} h at "
        f"{asked['training_price_per_hour']:g}) against {found['against']} ({found['implementation']}): "
        f"{even['reason']}",
        f"  a million requests cost {_money(saved, currency)} less; a request costs {found['basis']}",
    ]
    if not even["never"]:
        few, many = even["requests"]["interval"]
        soon, late = even["days"]["interval"]
        said.append(
            f"  {few:,.0f} – {many:,.0f} requests, {soon:,.3g} – {late:,.3g} days at "
            f"{found['requests_per_day']:,.0f} requests a day"
        )
    return said


def _hybrid_lines(asked: dict[str, Any], found: dict[str, Any]) -> list[str]:
    curve = found["hybrid"]
    chosen = curve["chosen"]
    said = [
        f"Edge: {asked['edge'] or asked['model']} on {found['edge_implementation']}, 1 thread, "
        f"{_ms(found['edge_s'])} an item, {found['measure']} {curve['edge_quality']:.3f}",
        f"Cloud: {asked['model']} on {found['cloud_implementation']}, {asked['threads']} threads, "
        f"{_ms(found['cloud_s'])} an item, {found['measure']} {curve['cloud_quality']:.3f}",
    ]
    if chosen is None:
        said.append(f"Hybrid: {curve['reason']}")
    else:
        at = "the edge answers all" if chosen["passed_on"] == 0 else f"{100 * chosen['passed_on']:.3g} % passed on"
        low = f"at least {chosen['quality_low']:+.3g}, margin {curve['margin']:g}"
        money = {"value": 1e6 * chosen["cost"], "interval": curve["cost_interval"]}
        if money["interval"]:
            money["interval"] = [1e6 * end for end in money["interval"]]
        threshold = "inf" if chosen["threshold"] is None else f"{chosen['threshold']:.4g}"
        said += [
            f"Hybrid: pass on below {threshold} ({found['confidence_is']}): {at}",
            f"  {found['measure']} {chosen['quality']:.3f}, {chosen['quality_change']:+.3g} to the cloud ({low})",
            f"  mean {_ms(chosen['latency_s'])}; {_money(money, asked['currency'])} a million items, "
            f"the cloud alone {1e6 * curve['cloud_cost']:.4g}",
            f"  chosen on {curve['items'][0]} items, measured on {curve['items'][1]} others",
        ]
    said.append(
        f"  price {asked['price_per_hour']:g} an hour (edge {asked['edge_price_per_hour']:g}), loaded to "
        f"{100 * asked['utilisation']:g} %"
    )
    return said + [f"  {note}" for note in (*([curve["warning"]] if curve["warning"] else []), *found["notes"])]
