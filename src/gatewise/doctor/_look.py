"""The look: everything that `gatewise doctor` says of a machine without a study, in a few seconds."""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ._files import ROOT
from ._installed import installed
from ._machine import last_cache_bytes, machine
from ._missing import Missing, settle
from ._opinion import expected
from ._watch import between, load, moment

SCHEMA = "gatewise.doctor/1"

Progress = Callable[[str, float], None]
"""Told what is being done and about how many seconds are left."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to look in seconds (bandwidth and matmul: for each number of threads), and the matrices' side."""

    quiet_s: float = 1.0
    probe_s: float = 3.0
    bandwidth_s: float = 0.7
    matmul_s: float = 1.1
    side: int = 1024


def _silent(what: str, left_s: float) -> None:
    del what, left_s


def look(*, root: Path = ROOT, effort: Effort | None = None, progress: Progress = _silent) -> dict[str, Any]:
    """Look at this machine and return what was seen (schema `gatewise.doctor/1`, `kind = "look"`).

    Args:
        root: below it lie `/proc` and `/sys`.
        effort: how long to look.
        progress: told what is being done.

    Returns:
        Plain data. A fact that is not known is null, and its reason stands in `missing` under its dotted path.
    """
    chosen = effort or Effort()
    took: dict[str, float] = {}
    began, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    with _timed(took, "reading"):
        load_before = load(root)
        facts, packages, first = machine(root), installed(), moment(root, programs=True)
    progress("doctor: listening to the quiet machine", 11.0)
    with _timed(took, "quiet"):
        time.sleep(chosen.quiet_s)
        quiet = between(first, moment(root, programs=True))
    progress("doctor: importing torch, then the disturbance probe", 10.0)
    with _timed(took, "importing torch"):
        import torch  # the reading above must not wait for it
    threads = torch.get_num_threads()
    try:
        measured = _measured(facts, chosen, took, progress)
    finally:
        torch.set_num_threads(threads)
    whole = between(first, moment(root))
    content = {
        "machine": facts,
        "installed": packages,
        "load": load_before,
        "quiet": quiet,
        "whole": {key: whole[key] for key in ("seconds", "steal_share", "throttled")},
        **measured,
    }
    settled = settle(content)
    from gatewise import __version__

    return {
        "schema": SCHEMA,
        "kind": "look",
        "gatewise": __version__,
        "started": started,
        "seconds": time.monotonic() - began,
        "took_s": took,
        **settled,
        "verdict": expected(settled),
    }


def _measured(facts: Mapping[str, Any], chosen: Effort, took: dict[str, float], progress: Progress) -> dict[str, Any]:
    import torch

    from ._capacity import accelerators, bandwidth, matmul
    from ._probe import repeat, statistics, timer

    # The probe comes first: threads of a pool that was just used may still be awake.
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(192, 192, generator=generator) for _ in range(2))
    with _timed(took, "timer"):
        clock = timer()
    with _timed(took, "probe"), torch.inference_mode():
        probe = statistics(repeat(lambda: torch.mm(x, w), chosen.probe_s))
    cores = int(facts["cores"]["allowed"])
    quota = facts["cores"]["quota"]
    most = cores if isinstance(quota, Missing) else max(1, min(cores, round(quota)))
    counts = sorted({1, most})
    memory = facts["memory"]
    available = 0 if isinstance(memory["available_bytes"], Missing) else int(memory["available_bytes"])
    if not isinstance(memory["limit_bytes"], Missing):
        available = min(available or memory["limit_bytes"], memory["limit_bytes"])
    progress("doctor: memory bandwidth", 6.0)
    with _timed(took, "bandwidth"):
        moved = bandwidth(counts, last_cache_bytes(facts["caches"]), available, chosen.bandwidth_s)
    progress("doctor: matrix products", 4.0)
    with _timed(took, "matmul"):
        products = matmul(counts, chosen.side, chosen.matmul_s)
    return {
        "accelerators": accelerators(),
        "timer": clock,
        "probe": probe,
        "threads": counts,
        "bandwidth": moved,
        "matmul": products,
    }


@contextmanager
def _timed(took: dict[str, float], what: str) -> Generator[None]:
    start = time.monotonic()
    try:
        yield
    finally:
        took[what] = time.monotonic() - start
