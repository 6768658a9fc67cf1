"""Our server beside a bare Starlette echo and MLServer, under open-loop load; overload, stopping, promotions.

    python benchmarks/serve.py --mlserver /path/to/venv/bin/python --out serve.json

Correctness first: the answers of every server are compared before one is timed. The servers of one comparison take
turns in short rounds, in random order, so that what the machine does besides falls on all of them. Needs two cores.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from serving.target import WIDTH

HERE = Path(__file__).parent / "serving"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "data": [0.5 * i for i in range(WIDTH)]}]}
).encode()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def server(kind: str, folder: Path, **options: object) -> Iterator[tuple[str, subprocess.Popen]]:
    """`ours` or `bare` as a process; gives the infer URL."""
    port = free_port()
    command = [sys.executable, str(HERE / "target.py"), kind, "--port", str(port)]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    if kind == "ours" and "record" not in options:
        command += ["--record", tempfile.mkdtemp(dir=folder)]
    with running(command, port) as process:
        yield f"http://127.0.0.1:{port}/v2/models/m/infer", process


@contextlib.contextmanager
def mlserver(python: str, folder: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """MLServer with the echo model, in its own environment; parallel workers off, as for a light model."""
    port, grpc, metrics = free_port(), free_port(), free_port()
    home = folder / "mlserver"
    home.mkdir(exist_ok=True)
    (home / "mlserver_echo.py").write_text((HERE / "mlserver_echo.py").read_text())
    (home / "model-settings.json").write_text(
        json.dumps({"name": "m", "implementation": "mlserver_echo.Echo", "parameters": {"version": "1"}})
    )
    settings = {"http_port": port, "grpc_port": grpc, "metrics_port": metrics, "parallel_workers": 0, "debug": False}
    (home / "settings.json").write_text(json.dumps({**settings, "host": "127.0.0.1", "access_logging": False}))
    command = [python, "-m", "mlserver.cli.main", "start", str(home)]
    with running(command, port, cwd=home) as process:
        yield f"http://127.0.0.1:{port}/v2/models/m/infer", process


@contextlib.contextmanager
def running(command: list[str], port: int, cwd: Path | None = None) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(command, env=ENVIRONMENT, cwd=cwd, stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                post(f"http://127.0.0.1:{port}/v2/models/m/infer")
                break
            if process.poll() is not None:
                raise SystemExit(f"the server ended with {process.returncode}: {' '.join(command)}")
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def post(url: str) -> dict:
    request = urllib.request.Request(url, BODY, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def begin(url: str, folder: Path, **options: object) -> subprocess.Popen:
    """Start the load generator."""
    (folder / "body.json").write_bytes(BODY)
    command = [sys.executable, str(HERE / "load.py"), url, "--body", str(folder / "body.json")]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE)


def load(url: str, folder: Path, **options: object) -> dict:
    return json.loads(begin(url, folder, **options).communicate()[0])


def percentile(values: list[float], share: float) -> float | None:
    return float(np.quantile(values, share)) if values else None


def check(urls: dict[str, str], expected: list[float]) -> None:
    """Every server gives the same answer, before anything is timed."""
    for name, url in urls.items():
        found = np.ravel(post(url)["outputs"][0]["data"])
        if not np.allclose(found, expected, rtol=1e-4, atol=1e-5):
            raise SystemExit(f"{name} answers something else: {found[:4]}")


def compare(urls: dict[str, str], folder: Path, rounds: int, **options: object) -> dict:
    """Latencies of all servers in random order, round by round."""
    order, found = random.Random(0), {name: [] for name in urls}
    for url in urls.values():
        load(url, folder, **{**options, "seconds": 1})
    for number in range(rounds):
        for name in order.sample(list(urls), len(urls)):
            run = load(urls[name], folder, **options, seed=number)
            bad = sum(status != 200 for *_, status in run["seen"])
            if bad:
                raise SystemExit(f"{name}: {bad} requests of {len(run['seen'])} failed")
            found[name].append([took for _, took, _ in run["seen"]])
    return {
        name: {
            "p50_ms": 1e3 * statistics.median(percentile(each, 0.5) for each in runs),
            "p99_ms": 1e3 * statistics.median(percentile(each, 0.99) for each in runs),
            "requests": sum(map(len, runs)),
        }
        for name, runs in found.items()
    }


def echo(asked: argparse.Namespace, folder: Path) -> dict:
    with contextlib.ExitStack() as stack:
        urls = {name: stack.enter_context(server(name, folder))[0] for name in ("ours", "bare")}
        if asked.mlserver:
            urls["mlserver"] = stack.enter_context(mlserver(asked.mlserver, folder))[0]
        check(urls, json.loads(BODY)["inputs"][0]["data"])
        return compare(urls, folder, asked.rounds, rate=asked.rate, seconds=asked.seconds)


def best_batch(made: str) -> dict:
    """The bare model's rows a second at its best batch, and its time for one row, in a process without a server."""
    code = (
        f"import sys,time,json;sys.path.insert(0,{str(HERE.parent)!r});import numpy as np\n"
        f"from serving.target import Encoder,Work,WIDTH\nwork={made};out={{}}\n"
        "for n in (1,2,4,8,16,32):\n"
        "    x=np.ones((n,WIDTH),np.float32);work(x);times=[]\n"
        "    for _ in range(max(20,int(1/(.005*n)))):\n"
        "        a=time.perf_counter();work(x);times.append(time.perf_counter()-a)\n"
        "    out[n]=float(np.median(times))\n"
        "print(json.dumps(out))"
    )
    text = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, check=True).stdout
    times = {int(rows): seconds for rows, seconds in json.loads(text).items()}
    return {"one_ms": 1e3 * times[1], "best_per_s": max(rows / seconds for rows, seconds in times.items())}


def model(asked: argparse.Namespace, folder: Path) -> dict:
    """A real model (MiniLM): what the server adds at one caller, beside a bare Starlette; and batching at 32."""
    kind = {"model": asked.kind, "layers": asked.layers}
    made = "Encoder()" if asked.kind == "encoder" else f"Work({asked.layers})"
    rounds: list[dict] = []
    with server("ours", folder, **kind) as (url, _), server("bare", folder, **kind) as (bare, _):
        check({"ours": url}, np.ravel(post(bare)["outputs"][0]["data"]).tolist())
        load(url, folder, callers=32, seconds=3)
        for _ in range(asked.rounds):
            before = best_batch(made)
            one, other = (load(each, folder, callers=1, seconds=asked.seconds) for each in (url, bare))
            many = load(url, folder, callers=32, seconds=asked.seconds)
            p50, bare_p50 = (percentile([took for _, took, _ in each["seen"]], 0.5) for each in (one, other))
            per_s = sum(status == 200 for *_, status in many["seen"]) / many["seconds"]
            rounds.append(
                {
                    **before,
                    "one_caller_ms": 1e3 * p50,
                    "bare_starlette_ms": 1e3 * bare_p50,
                    "one_caller_ratio": 1e3 * p50 / before["one_ms"],
                    "one_caller_ratio_to_bare_starlette": p50 / bare_p50,
                    "callers_32_per_s": per_s,
                    "callers_32_share": per_s / before["best_per_s"],
                }
            )
    return {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}


def overload(asked: argparse.Namespace, folder: Path) -> dict:
    """Twice the capacity, then half of it: goodput, how fast refusals come, when it is as before."""
    deadline = 1.0
    with server("ours", folder, model="work", layers=asked.layers, deadline=deadline) as (url, _):
        load(url, folder, callers=16, seconds=2)
        full = load(url, folder, callers=32, seconds=asked.seconds)
        if any(status != 200 for *_, status in full["seen"]):
            raise SystemExit("the run that finds the capacity had refusals: 32 callers are too many here")
        capacity = sum(status == 200 for *_, status in full["seen"]) / full["seconds"]
        calm = load(url, folder, rate=capacity / 2, seconds=asked.seconds)
        usual = percentile([took for _, took, _ in calm["seen"]], 0.99)
        twice = load(url, folder, rate=2 * capacity, seconds=2 * asked.seconds)
        after = load(url, folder, rate=capacity / 2, seconds=asked.seconds)
    good = sum(status == 200 and took <= deadline for _, took, status in twice["seen"])
    refusals = [took for _, took, status in twice["seen"] if status == 503]
    slow = [due for due, took, status in after["seen"] if status != 200 or took > 1.5 * usual]
    return {
        "capacity_per_s": capacity,
        "goodput": good / twice["seconds"] / capacity,
        "refused": len(refusals),
        "refusal_p50_ms": 1e3 * (percentile(refusals, 0.5) or 0),
        "refusal_p99_ms": 1e3 * (percentile(refusals, 0.99) or 0),
        "expired": sum(status == 504 for *_, status in twice["seen"]),
        "lost": sum(status == 0 for *_, status in twice["seen"]),
        "recovered_s": max((due for due in slow if len([x for x in slow if abs(x - due) < 0.5]) > 3), default=0.0),
    }


def stop(asked: argparse.Namespace, folder: Path) -> dict:
    """SIGTERM under keep-alive load: what was lost, what was refused in the window."""
    window = 2.0
    with server("ours", folder, window=window) as (url, process):
        generator = begin(url, folder, callers=16, seconds=window + 4)
        time.sleep(2)
        process.send_signal(signal.SIGTERM)
        process.wait(40)
        run = json.loads(generator.communicate()[0])
    counts: dict[str, int] = {}
    for *_, status in run["seen"]:
        counts[str(status)] = counts.get(str(status), 0) + 1
    last = max(due for due, _, status in run["seen"] if status == 200)
    return {"exit": process.returncode, "answers": counts, "lost": counts.get("0", 0), "last_answered_s": last}


def promotions(asked: argparse.Namespace, folder: Path) -> dict:
    """100 promotions under load: errors, and which versions answered."""
    with server("ours", folder, promotions=100) as (url, _):
        run = load(url, folder, callers=8, seconds=8)
    bad = sum(status != 200 for *_, status in run["seen"])
    return {"requests": len(run["seen"]), "errors": bad, "answers_by_version": run["versions"]}


PARTS = {"echo": echo, "model": model, "overload": overload, "stop": stop, "promotions": promotions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mlserver", metavar="PYTHON", help="a Python that has mlserver; without it, it is left out")
    parser.add_argument("--only", choices=PARTS, action="append", help="these parts (default: all)")
    parser.add_argument("--rate", type=float, default=100, help="requests a second of the echo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each run")
    parser.add_argument("--kind", choices=("encoder", "work"), default="encoder", help="the model of --only model")
    parser.add_argument("--layers", type=int, default=40, help="of the model that takes 5 ms or more")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    found: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.only or PARTS:
            found[name] = PARTS[name](asked, Path(folder))
            print(name, json.dumps(found[name], indent=2), flush=True)
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
