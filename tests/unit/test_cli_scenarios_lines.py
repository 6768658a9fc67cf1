"""What `gatewise scenarios` says of a rate that was confirmed far below the edge."""

from typing import Any

from gatewise.cli._scenarios_lines import lines


def document(rate: float | None, edge: float) -> dict[str, Any]:
    found = {"verdict": "holds", "rate": rate, "edge": edge, "seconds": 120.0}
    empty = dict.fromkeys(("evidence", "latency", "full_queries", "fails_at", "reason"))
    asked = {"scenario": "server", "percentile": 0.99, "p99_s": 0.03, "model": "m", "threads": 1, "tokens": 16}
    rest = dict.fromkeys(("hybrid", "edge", "batches", "cost", "break_even"))
    return {"asked": asked, "implementation": "eager", "result": {**empty, **found}, **rest}


def test_a_careful_rate_says_how_careful_and_what_would_help() -> None:
    said = "\n".join(lines(document(85.0, 100.0)))
    assert "lies 15 % below it" in said
    assert "--budget 18m would bring it to about 5 %" in said  # 120 s x (15 / 5)^2


def test_a_rate_near_the_edge_says_nothing_of_it() -> None:
    assert "below it" not in "\n".join(lines(document(96.0, 100.0)))
