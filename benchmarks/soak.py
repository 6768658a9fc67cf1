"""Does a server grow? `gatewise serve` under steady load, with everything on, for half an hour.

    python benchmarks/soak.py --minutes 30 --rate 60

Live, canary, shadow and the copy beside it; record, judge, drift, health, metrics; late labels for half of the
requests; a promotion every minute. Every ten seconds the process is looked at: resident memory, open files, threads,
and the size of its records, whose bound is low enough to be reached. The answer is the slope of each over the second
half of the time (Theil and Sen, 95 %) and how many requests failed; exit code 1 where one did, or where memory would
grow by more than 5 % of itself in a day. Requests have no ids of their own: of such ids the server remembers the last
65,536, which is some 12 MB that fill up first.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import theilslopes
from torch import nn

from gatewise import surgery
from gatewise.versions import Registration, Registry, register

WIDTH, CLASSES = 8, 4
DAY_S = 86_400
SETTINGS = (
    *("log.segment_bytes=1000000", "log.keep_bytes=4000000", "log.segment_s=60", "learn_reference=500"),
    *("judge.labels_within_s=60", "judge.waiting=2000", "lame_duck_s=0"),
)


def registered(folder: Path) -> Registry:
    """Three versions of a small classifier, which differ a little."""
    registry = Registry(folder / "registry", create=True)
    for number, label in enumerate(("v1", "v2", "v3")):
        torch.manual_seed(number)
        model = nn.Sequential(nn.Linear(WIDTH, 64), nn.GELU(), nn.Linear(64, CLASSES), nn.Softmax(-1)).eval()
        register(registry, Registration(target=str(surgery.save(model, folder / label)), model="m", version=label))
    registry.promote("m", "v1")
    registry.promote("m", "v2", "shadow")
    registry.promote("m", "v2", "canary")
    return registry


def post(url: str, document: Any) -> tuple[int, str]:
    """The status, and the id that the answer has."""
    request = urllib.request.Request(url, json.dumps(document).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read()).get("id", "")
    except urllib.error.HTTPError as error:
        return error.code, ""
    except OSError:
        return 0, ""


def caller(address: str, asked: argparse.Namespace, number: int, until_s: float, statuses: Counter[int]) -> None:
    """Requests at its share of the rate, and labels for half of them some seconds later."""
    rng, draw = random.Random(number), np.random.default_rng(number)
    late: list[tuple[float, str]] = []
    while time.monotonic() < until_s:
        time.sleep(rng.expovariate(asked.rate / asked.callers))
        rows = draw.standard_normal((1, WIDTH)).astype(np.float32)
        tensor = {"name": "input", "datatype": "FP32", "shape": [1, WIDTH], "data": rows.reshape(-1).tolist()}
        status, name = post(f"{address}/v2/models/m/infer", {"inputs": [tensor]})
        statuses[status] += 1
        if name and rng.random() < 0.5:
            late.append((time.monotonic() + rng.uniform(1, 20), name))
        if len(late) >= 20:
            due = [each for at, each in late if at <= time.monotonic()]
            late = [(at, each) for at, each in late if at > time.monotonic()]
            labels = [{"request": each, "row": 0, "value": rng.randrange(CLASSES)} for each in due]
            if labels:
                statuses[post(f"{address}/v2/models/m/labels", {"labels": labels})[0]] += 1


def look(pid: int, record: Path) -> dict[str, float]:
    """What the process and its records take now."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    field = {words[0]: words[1] for words in lines if len(words) > 1}
    disk = sum(each.stat().st_size for each in record.rglob("*") if each.is_file())
    return {
        "memory_mb": int(field["VmRSS:"]) / 1024,
        "files": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(field["Threads:"]),
        "records_mb": disk / 1e6,
    }


def soak(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Serve, load, look."""
    registry, record = registered(folder), folder / "records"
    words = [
        sys.executable,
        "-m",
        "gatewise",
        "serve",
        "m",
        "--registry",
        str(registry.folder),
        "--port",
        "0",
        "--json",
    ]
    words += ["--record", str(record), "--canary", "10%", *(word for each in SETTINGS for word in ("--set", each))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    statuses: Counter[int] = Counter()
    seen: list[tuple[float, dict[str, float]]] = []
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            if not line:
                raise SystemExit("the server did not start")
            address = json.loads(line)["address"]
            began_s = time.monotonic()
            until_s = began_s + 60 * asked.minutes
            threads = [
                threading.Thread(target=caller, args=(address, asked, number, until_s, statuses))
                for number in range(asked.callers)
            ]
            for each in threads:
                each.start()
            while time.monotonic() < until_s:
                time.sleep(10)
                seen.append((time.monotonic() - began_s, look(child.pid, record)))
                if len(seen) % 6 == 0:
                    registry.promote("m", "v1" if registry.alias("m").version == "v3" else "v3")
                    print(f"{seen[-1][0]:.0f} s  {seen[-1][1]}  {dict(statuses)}", flush=True)
            for each in threads:
                each.join()
            child.send_signal(signal.SIGTERM)
            code = child.wait(60)
        finally:
            child.kill()
    return {"exit": code, "statuses": dict(statuses), "slopes": slopes(seen)}


def slopes(seen: list[tuple[float, dict[str, float]]]) -> dict[str, Any]:
    """Growth a day of each, over the second half, with its interval."""
    half = seen[len(seen) // 2 :]
    found: dict[str, Any] = {}
    for name in half[0][1]:
        values = [each[name] for _, each in half]
        slope, _, low, high = theilslopes(values, [at for at, _ in half])
        found[name] = {
            "median": float(np.median(values)),
            "a_day": DAY_S * slope,
            "interval": [DAY_S * low, DAY_S * high],
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=60, help="requests a second")
    parser.add_argument("--callers", type=int, default=8)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = soak(asked, Path(folder))
    print(json.dumps(found, indent=2))
    memory = found["slopes"]["memory_mb"]
    failed = sum(count for status, count in found["statuses"].items() if status not in (200, 202))
    return int(failed > 0 or found["exit"] != 0 or memory["interval"][0] > 0.05 * memory["median"])


if __name__ == "__main__":
    sys.exit(main())
