"""Every runtime side by side on MiniLM, with the engines run directly as their own documentation tells.

    python benchmarks/runtimes.py --rounds 8 --out runtimes.json

Correctness comes first: a runtime whose outputs are not eager's has no speed here. Then fresh processes, each with all
candidates in it, called in random interleaved order; the process is the unit of the intervals (a confidence sequence on
the median ratio to eager). Beside it stands what the machine can do: matrix products through MKL and packed for oneDNN.
Nothing else should run on the machine.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

TOKENS = 16
CLOSE = 1e-4
SECONDS = 3.0
PEERS = ("onnxruntime directly", "openvino directly", "zentorch directly")


def peers(model: Any, made: Any, example: dict[str, Any], file: Path, threads: int) -> dict[str, Callable[[], Any]]:
    """The engines as their own pages show them, on the same exported file and inputs."""
    import torch

    found: dict[str, Callable[[], Any]] = {}
    feed = {name: tensor.numpy() for name, tensor in example.items()}
    try:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.force_spinning_stop", "1")  # else it slows down whoever comes next
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        found["onnxruntime directly"] = lambda: session.run(None, feed)[0]
    except ImportError:
        pass
    try:
        import openvino

        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        graph = openvino.Core().read_model(str(file))
        graph.reshape({port: list(tensor.shape) for port, tensor in zip(graph.inputs, example.values(), strict=True)})
        request = openvino.Core().compile_model(graph, "CPU", settings).create_infer_request()
        arrays = list(feed.values())
        found["openvino directly"] = lambda: next(iter(request.infer(arrays, share_inputs=True).values()))
    except ImportError:
        pass
    try:
        import zentorch

        compiled = torch.compile(model, backend="zentorch", dynamic=False)
        with zentorch.freezing_enabled(), torch.inference_mode():
            made.run(compiled, example)  # compiles here, and nowhere else
        import_module("torch._inductor.config").joint_custom_post_pass = None  # zentorch leaves its pass behind
        found["zentorch directly"] = lambda: made.run(compiled, example)
    except ImportError:
        pass
    return found


def process(job: dict[str, Any]) -> dict[str, Any]:
    """One fresh process: load all candidates in random order, check them, time them interleaved."""
    import torch

    from gatewise.measure import Effort, interleave
    from gatewise.runtimes import RUNTIMES, Task, agreement, prepare
    from gatewise.workloads import workload

    torch.set_num_threads(job["threads"])
    made = workload(name="sentence-encoder")
    rng = random.Random(job["seed"])
    example = made.inputs(job["batch"], TOKENS, job["seed"])
    calibration = list(made.probe())[::4]
    calls: dict[str, Callable[[], Any]] = {}
    refused: dict[str, str] = {}
    told: dict[str, str] = {}
    for name in rng.sample(job["names"], len(job["names"])):
        task = Task(
            model=made.original().eval(),
            run=made.run,
            example=example,
            threads=job["threads"],
            folder=Path(job["folder"]),
            calibration=calibration if RUNTIMES[name].calibrates else (),
        )
        try:
            ready = prepare(name, task)
            found = agreement(name, task, ready, [example, made.inputs(3, TOKENS, 1)])
        except Exception as error:  # noqa: BLE001  (one that fails is shown as red, the others go on)
            refused[name] = str(error).splitlines()[0]
            continue
        calls[name] = lambda call=ready.call: call(example)
        told[name] = f"{ready.implementation}; differs by {found.relative:.0e}"
    if job["peers"]:
        file = next(Path(job["folder"]).glob("onnx/*.onnx"))
        model = made.original().eval()
        with torch.inference_mode():
            wanted = made.run(model, example)
            for name, call in peers(model, made, example, file, job["threads"]).items():
                apart = float((torch.as_tensor(call()) - wanted).abs().max() / wanted.abs().max())
                if apart > CLOSE:
                    refused[name] = f"differs from eager by {apart:.0e} of the largest output"
                else:
                    calls[name], told[name] = call, f"as its documentation tells; differs by {apart:.0e}"
    with torch.inference_mode():
        effort = Effort(seconds=job["seconds"], fewest=2, warmup=2)
        times = interleave(calls, effort=effort, seed=job["seed"]).values_s
    return {"median_s": {name: median(values) for name, values in times.items()}, "told": told, "refused": refused}


def in_a_process(job: dict[str, Any]) -> dict[str, Any]:
    """The same in a fresh process."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(job["threads"]), MKL_NUM_THREADS=str(job["threads"]))
    environment |= {"PYTHONWARNINGS": "ignore", "GATEWISE_JOB": json.dumps(job)}
    command = [sys.executable, __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"a process failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def table(rows: list[dict[str, Any]], alpha: float) -> list[dict[str, Any]]:
    """Every candidate's median and its ratio to eager, one process standing for one observation; fastest first."""
    from gatewise.core import compare

    lines: list[dict[str, Any]] = []
    for name in sorted({name for row in rows for name in row["median_s"]}):
        both = [row["median_s"] for row in rows if name in row["median_s"] and "eager" in row["median_s"]]
        base, mine = [row["eager"] for row in both], [row[name] for row in both]
        found = compare(base, mine, paired=True, kind="ratio", margin=0.02, alpha=alpha) if name != "eager" else None
        line = {"name": name, "ms": 1e3 * median(mine), "speed": median(b / m for b, m in zip(base, mine, strict=True))}
        line["interval"] = [1 / end for end in reversed(found.interval)] if found and found.interval else None
        lines.append(line | {"told": rows[0]["told"].get(name, "")})
    return sorted(lines, key=lambda line: line["ms"])


def physics(threads: int) -> dict[str, Any]:
    """Float32 products of this machine: what MKL gives and what oneDNN gives on packed weights."""
    import torch

    from gatewise.doctor._capacity import matmul

    before = torch.get_num_threads()
    found = matmul([threads], 768, 2.0)[f"threads_{threads}"]
    torch.set_num_threads(before)
    return {name: found[name]["flop_per_s"]["high"] for name in ("mm_f32", "linear_f32", "packed_f32") if name in found}


def main() -> int:
    """Run all rounds and print; 1 where something was refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--out")
    given = parser.parse_args()
    from gatewise.runtimes import availability

    names = [name for name, missing in availability().items() if missing is None]
    names = ["eager", *(name for name in names if name != "eager" and name in (given.only or names))]
    for name, missing in availability().items():
        if missing:
            print(f"{name}: {missing}")
    speed = physics(given.threads)
    print("float32 products, GFLOP/s at best: " + ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in speed.items()))
    document: dict[str, Any] = {"physics": speed, "batches": {}}
    red: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for batch in given.batch:
            fixed = {"batch": batch, "threads": given.threads, "names": names, "folder": folder, "peers": True}
            jobs = [fixed | {"seed": seed, "seconds": given.seconds} for seed in range(given.rounds)]
            rows = [in_a_process(job) for job in jobs]
            lines = table(rows, 0.05)
            document["batches"][batch] = lines
            print(f"\nbatch {batch}, {TOKENS} tokens, {given.threads} thread(s), {len(rows)} processes")
            for line in lines:
                ends = line["interval"]
                shown = f"[{ends[0]:.2f}, {ends[1]:.2f}]" if ends else "(no interval)"
                print(f"{line['name']:24} {line['ms']:9.2f} ms {line['speed']:6.2f}x eager {shown:16} {line['told']}")
            for row in rows:
                red |= row["refused"]
    for name, reason in red.items():
        print(f"RED {name}: {reason}")
    if given.out:
        Path(given.out).write_text(json.dumps(document | {"refused": red}, indent=1), encoding="utf-8")
    return 1 if red else 0


if __name__ == "__main__":
    if "GATEWISE_JOB" in os.environ:
        print(json.dumps(process(json.loads(os.environ["GATEWISE_JOB"]))))
        sys.exit(0)
    sys.exit(main())
