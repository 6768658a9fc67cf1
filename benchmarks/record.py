"""Does the durable record keep its promises? Its speed, and what a kill -9 leaves behind.

    python benchmarks/record.py                      # speed: durable records a second, microseconds a request
    python benchmarks/record.py --kills 100          # a child appends under load and is killed at random moments

Speed: full records (six features, two outputs, a prediction) are built and appended as fast as one thread can; the
rate counts until the last one is durable. The hot path is the caller's own work, building the record included, flat
out and at a steady 2,000 requests a second as a server has it; of the latter also `append` alone.

Kills: the child reports numbers that are durable; after each kill the parent checks that each reported number is
there, each number once and with the content that it was written with, that a reader works while the child writes, and
that a new writer goes on behind them. Segments are small, so kills also fall into the change from SQLite to Parquet.
One JSON document goes to stdout; the exit code is 1 where a promise was broken.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gatewise.monitor import Label, Log, LogSettings, Record, read_entries

CHILD = """
import sys
sys.path.insert(0, sys.argv[3])
from gatewise.monitor import Log
from record import full_record, late_label, small

folder, burst = sys.argv[1], int(sys.argv[2])
with Log(folder, small()) as log:
    said = number = log.durable
    sys.stdout.write(f"{number + 1}\\n")
    while True:
        for _ in range(burst):
            item = full_record(number + 1) if (number + 1) % 7 else late_label(number + 1)
            given = log.label(item) if (number + 1) % 7 == 0 else log.append(item)
            assert given == number + 1, (given, number)
            number = given
        if log.durable > said:
            said = log.durable
            sys.stdout.write(f"{said}\\n")
            sys.stdout.flush()
"""


def small() -> LogSettings:
    """Settings under which files change often."""
    return LogSettings(segment_bytes=1 << 18, keep_bytes=1 << 40, queue=5_000, block_s=60.0, content="full")


def full_record(number: int) -> Record:
    """A record with all that a server of texts knows; its content follows from its number."""
    return Record(
        request=f"request-{number:010d}",
        at_ns=time.time_ns(),
        model="encoder",
        version="v2" if number % 3 == 0 else "v1",
        digest="0123456789abcdef" * 4,
        role="shadow" if number % 3 == 0 else "live",
        first=number % 2 == 0,
        queue_s=0.001,
        compute_s=number * 1e-6,
        batch_rows=8,
        fingerprint="fedcba9876543210" * 2,
        features={"length": 128.0, "mean": 0.123456, "std": 1.0345, "max": 3.25, "min": -2.125, "new": number / 7},
        outputs={"mean": 0.25, "norm": 1.0},
        predictions=(float(number % 5),),
        confidences=(0.912345,),
        content=b"%d" % number if number % 11 == 0 else None,
    )


def late_label(number: int) -> Label:
    """A label whose content follows from its number."""
    return Label(request=f"request-{number:010d}", value=number / 3, at_ns=time.time_ns())


def true_to_its_number(number: int, item: Record | Label) -> bool:
    """Whether an entry says what was written under its number."""
    if isinstance(item, Label):
        return (item.request, item.value) == (f"request-{number:010d}", number / 3)
    expected = full_record(number)
    return all(getattr(item, name) == getattr(expected, name) for name in Record.__slots__ if name != "at_ns")


def kills(folder: Path, times: int, longest_s: float, seed: int) -> dict[str, Any]:
    """Kill a writing child `times` times at random moments; what was found after each, and in all at the end."""
    rng = random.Random(seed)
    found = {"kills": 0, "lost": 0, "double": 0, "wrong": 0, "reader_failed": 0, "reused": 0}
    promised: list[tuple[int, int]] = []  # numbers that were durable, from and to
    for _ in range(times):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder), str(rng.choice((1, 10, 200))), str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert child.stdout is not None
        said = child.stdout.readline() + child.stdout.readline()  # it runs, and something is durable
        due = time.monotonic() + rng.uniform(0.0, longest_s)
        behind = promised[-1][1] if promised else 0
        if rng.random() < 0.3:  # a reader beside the writer
            look(folder, behind, [], found)
        time.sleep(max(0.0, due - time.monotonic()))
        os.kill(child.pid, signal.SIGKILL)
        said += child.stdout.read()
        child.wait()
        child.stdout.close()
        first, *durable = (int(line) for line in said.decode().split("\n")[:-1])
        found["kills"] += 1
        found["reused"] += first <= behind
        new = [(first, durable[-1])]
        look(folder, behind, new, found)
        with Log(folder, small()) as log:  # a new writer goes on
            number = log.append(full_record(log.durable + 1))
            found["reused"] += number <= durable[-1]
            assert log.wait(number, 60.0), log.state()
        promised += [*new, (number, number)]
    total = look(folder, 0, promised, found)
    count = sum(last - first + 1 for first, last in promised)
    return found | {"acknowledged": count, "read": total, "files": files(folder)}


def look(folder: Path, after: int, promised: list[tuple[int, int]], found: dict[str, int]) -> int:
    """Read everything behind a number; count what is lost of the promised, double or wrong. Gives how much it was."""
    lines: list[str] = []
    seen: set[int] = set()
    count = 0
    for entry in read_entries(folder, after=after, damaged=lines.append):
        count += 1
        found["double"] += entry.number in seen
        seen.add(entry.number)
        found["wrong"] += not true_to_its_number(entry.number, entry.item)
    found["reader_failed"] += bool(lines)
    lost = [number for first, last in promised for number in range(first, last + 1) if number not in seen]
    if lost:
        print(f"behind {after}: lost {len(lost)}, {lost[0]} to {lost[-1]}; files {files(folder)}", file=sys.stderr)
    found["lost"] += len(lost)
    return count


def files(folder: Path) -> dict[str, int]:
    """How many files of each form there are."""
    return {
        "sqlite": len(list(folder.glob("segments/*.sqlite"))),
        "records.parquet": len(list(folder.glob("records/*.parquet"))),
        "labels.parquet": len(list(folder.glob("labels/*.parquet"))),
    }


def speed(folder: Path, seconds: float) -> dict[str, Any]:
    """Durable records a second flat out, and the hot path's microseconds flat out and at a server's steady rate."""
    flat: list[int] = []
    with Log(folder / "flat", LogSettings(block_s=60.0)) as log:
        began, used = time.perf_counter(), time.process_time()
        while time.perf_counter() - began < seconds:
            for _ in range(100):
                at = time.perf_counter_ns()
                log.append(full_record(len(flat)))
                flat.append(time.perf_counter_ns() - at)
        assert log.flush(60.0)
        took, cpu = time.perf_counter() - began, time.process_time() - used
        assert log.state().dropped == 0
    kept = sum(1 for _ in read_entries(folder / "flat"))
    assert kept == len(flat), (kept, len(flat))
    steady: list[int] = []
    alone: list[int] = []
    with Log(folder / "steady") as log:
        began = time.perf_counter()
        while (now := time.perf_counter() - began) < seconds:
            while len(steady) < now * 2000:
                at = time.perf_counter_ns()
                record = full_record(len(steady))
                built = time.perf_counter_ns()
                log.append(record)
                steady.append((done := time.perf_counter_ns()) - at)
                alone.append(done - built)
            time.sleep(0.0005)
    return {
        "durable_records_per_second": round(len(flat) / took),
        "cpu_us_per_record": round(cpu / len(flat) * 1e6, 2),
        "bytes_per_record": round(sum(path.stat().st_size for path in folder.glob("flat/*/*")) / len(flat)),
        "hot_path_us": {"flat_out": _spread(flat), "steady": _spread(steady), "steady_append_alone": _spread(alone)},
    }


def _spread(times_ns: list[int]) -> dict[str, float]:
    ordered = sorted(times_ns)
    at = {"median": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999}
    return {name: ordered[int(share * (len(ordered) - 1))] / 1e3 for name, share in at.items()} | {
        "mean": round(sum(ordered) / len(ordered) / 1e3, 3)
    }


def main() -> int:
    """Run what was asked for and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--longest", type=float, default=1.5, help="seconds that a child lives at most")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each speed is measured")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where to write (default: a temporary folder; must be a real disk)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        if arguments.kills:
            result = kills(Path(folder), arguments.kills, arguments.longest, arguments.seed)
            broken = any(result[name] for name in ("lost", "double", "wrong", "reader_failed", "reused"))
        else:
            result, broken = speed(Path(folder), arguments.seconds), False
    print(json.dumps(result, indent=2))
    return int(broken)


if __name__ == "__main__":
    raise SystemExit(main())
