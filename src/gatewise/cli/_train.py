"""`gatewise train`: one arm of one workload, in this process or as one rank of those that torchrun started."""

import argparse
import json
import os
import shlex
import signal
import sys
import tomllib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError, unknown_name

from ._progress import Progress
from ._train_arguments import DEFAULT_OUT

if TYPE_CHECKING:
    from gatewise import train

SCHEMA = "gatewise.train/1"
RESULT, MODEL, CHECKPOINTS = "train.json", "model", "checkpoints"
_EVERY_S = 60.0
_POINTS = 10


def run(parsed: argparse.Namespace) -> int:
    """Train. 0 where it ended, also where the loss diverged, which is a result; an agreed error is said once."""
    from gatewise import train

    kind = _kind(parsed, train.launched())
    if kind is None:
        return _train(parsed, train.Alone())
    try:
        with _told_by_the_launcher(), train.joined(kind, timeout_s=_timeout_s(parsed)) as ranks:
            try:
                return _train(parsed, ranks)
            except train.AgreedError as error:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                if ranks.rank == 0:
                    print(f"gatewise: {error}", file=sys.stderr, flush=True)
                ranks.together(lambda: None)  # said before any rank ends and torchrun ends the others
                return 2
    except KeyboardInterrupt:
        if os.environ["RANK"] != "0":
            return 130
        raise


def _kind(parsed: argparse.Namespace, launched: int | None) -> str | None:
    """How to train over processes, or None for this process alone."""
    from gatewise import train

    if parsed.parallel is not None and parsed.parallel not in train.PARALLEL:
        raise unknown_name("parallel training", parsed.parallel, train.PARALLEL)
    if launched is not None:
        return parsed.parallel or ("ddp" if launched > 1 else None)
    if parsed.parallel is not None:
        raise GatewiseError(
            f"--parallel {parsed.parallel} needs processes, which torchrun starts; on one machine:\n"
            f"torchrun --standalone --nproc-per-node 2 -m {_replay(parsed)}"
        )
    return None


@contextmanager
def _told_by_the_launcher() -> Generator[None]:
    """torchrun ends the other ranks with a signal once one of them has ended: they say why they stop."""

    def stop(number: int, frame: object) -> None:
        del number, frame
        raise GatewiseError(
            f"rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']} was told to stop, as where another rank has ended"
            "\nwhat was kept stays: begin again with --resume"
        )

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What was asked for, checked."""

    run: "train.TrainRun"
    facts: dict[str, Any]
    out: Path


def _train(parsed: argparse.Namespace, processes: "train.Alone") -> int:
    from gatewise import surgery, train

    asked = processes.together(lambda: _asked(parsed, processes))
    processes.first(lambda: _check_folder(parsed, asked.out))
    trouble: list[str] = []

    def keep(model: Any) -> None:
        try:
            surgery.save(model, asked.out / MODEL)
        except GatewiseError as error:  # the weights stand in the last checkpoint all the same
            trouble.append(str(error))

    progress = Progress(sys.stderr)
    try:
        result = asked.run.train(
            progress=lambda step, loss: progress.show(f"step {step} of {asked.run.plan.steps}: held-out {loss:.4f}"),
            finish=keep,
        )
    finally:
        progress.close()

    def tell() -> None:
        document = _document(parsed, asked, result, processes)
        document["ways"] = list(train.ways(asked.out / CHECKPOINTS))
        document["model"] = None if trouble or result.failure else MODEL
        _write(asked.out / RESULT, document)
        _print(document, asked.out, trouble)

    processes.first(tell)
    return 0


def _asked(parsed: argparse.Namespace, processes: "train.Alone") -> _Asked:
    from gatewise import train, workloads

    settings = _settings(parsed.settings)
    settings.pop("timeout_s", None)
    matching = settings.pop("matching", "params")
    plan = _plan(parsed, {key[6:]: settings.pop(key) for key in list(settings) if key.startswith("train.")})
    made: Any = workloads.workload(name=parsed.workload, options=settings)
    if not all(hasattr(made, name) for name in ("fresh", "train_batch", "heldout_batches", "loss")):
        valid = [name for name in workloads.WORKLOADS if hasattr(workloads.WORKLOADS[name], "fresh")]
        raise GatewiseError(f"{parsed.workload} is not trained from scratch\nvalid: {', '.join(valid)}")
    if parsed.out is not None and not parsed.out.strip():
        raise GatewiseError("--out needs a folder's name")
    if parsed.seed < 0:
        raise GatewiseError(f"--seed must be 0 or more, not {parsed.seed}")
    out = Path(parsed.out or DEFAULT_OUT)
    run = train.TrainRun(
        workload=made,
        arm=parsed.arm,
        seed=parsed.seed,
        plan=plan,
        matching=str(matching),
        checkpoints=_checkpoints(parsed, out / CHECKPOINTS),
        processes=processes,
    )
    return _Asked(run=run, facts=made.facts(), out=out)


def _plan(parsed: argparse.Namespace, settings: dict[str, Any]) -> "train.TrainPlan":
    from gatewise import train

    for name in ("steps", "precision"):
        value = getattr(parsed, name)
        if value is not None and name in settings:
            raise GatewiseError(f"give --{name} or --set train.{name}=…, not both")
        if value is not None:
            settings[name] = value
    steps = settings.get("steps")
    if isinstance(steps, int):
        settings.setdefault("eval_every", max(1, steps // _POINTS))
    wrong = [name for name, value in settings.items() if isinstance(value, (list, dict))]
    wrong += [
        each.name
        for each in fields(train.TrainPlan)
        if isinstance(settings.get(each.name), str) and each.name not in ("schedule", "precision")
    ]
    if wrong:
        raise GatewiseError(f"train.{wrong[0]} must be a number, not {settings[wrong[0]]!r}")
    return train.TrainPlan.from_json(settings)


def _settings(settings: list[str]) -> dict[str, Any]:
    """`--set` by key; a value is TOML, and a bare word is a text."""
    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = (each.strip() for each in setting.partition("="))
        if not equals or not key or not text:
            raise GatewiseError(f"--set takes KEY=VALUE, for instance dim=64 or train.batch=16, not {setting!r}")
        try:
            found[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            found[key] = text
    return found


def _timeout_s(parsed: argparse.Namespace) -> float:
    from gatewise import train

    value = _settings(parsed.settings).get("timeout_s", train.TIMEOUT_S)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise GatewiseError(f"timeout_s must be a number of seconds, not {value!r}")
    return float(value)


def _checkpoints(parsed: argparse.Namespace, folder: Path) -> "train.Checkpoints":
    from gatewise import study, train

    every: str | None = parsed.checkpoint_every
    if every is None:
        return train.Checkpoints(folder=folder, every_s=_EVERY_S)
    if every.isdecimal():
        return train.Checkpoints(folder=folder, every_steps=int(every))
    return train.Checkpoints(folder=folder, every_s=study.seconds(every))


def _check_folder(parsed: argparse.Namespace, out: Path) -> None:
    """A folder with another run in it is not touched. A process that torchrun has started anew resumes by itself."""
    holds = (out / RESULT).exists() or any((out / CHECKPOINTS).glob("step-*"))
    again = parsed.resume or os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    if holds and not again:
        raise GatewiseError(f"{out} holds a run already\nvalid: --resume to go on with it, or another --out")
    if parsed.resume and not holds:
        print(f"gatewise: {out} holds nothing to resume; a new run begins", file=sys.stderr)


def _document(
    parsed: argparse.Namespace, asked: _Asked, result: "train.TrainResult", processes: "train.Alone"
) -> dict[str, Any]:
    from gatewise import train

    ranks = isinstance(processes, train.Ranks)
    return {
        "schema": SCHEMA,
        "workload": asked.facts,
        "plan": asked.run.plan.to_json(),
        "precision": train.precision_words(asked.run.plan.precision),
        "processes": {"words": processes.words, "ranks": processes.size, "device": processes.device.type},
        "result": result.to_json(),
        "replay": (f"torchrun --standalone --nproc-per-node {processes.size} -m " if ranks else "") + _replay(parsed),
    }


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _print(document: dict[str, Any], out: Path, trouble: list[str]) -> None:
    result = document["result"]
    print(
        f"{result['arm']} of {document['workload']['workload']}, seed {result['seed']}, {result['parameters']:,} "
        f"parameters: {result['steps']} steps, {document['processes']['words']}"
    )
    for step, loss in result["curve"]:
        print(f"  step {step:>7}  held-out {loss:.6f}")
    if result["failure"]:
        print(f"ended early: {result['failure']}")
    for text in trouble:
        print(f"the model was not saved apart, its weights stand in the last checkpoint: {text}")
    print(f"written: {out / RESULT}" + (f", {out / MODEL}" if document["model"] else ""))


def _replay(parsed: argparse.Namespace) -> str:
    words = ["gatewise", "train", "--workload", parsed.workload, "--arm", parsed.arm, "--seed", str(parsed.seed)]
    for name in ("steps", "out", "parallel", "precision", "checkpoint_every"):
        value = getattr(parsed, name)
        words += [f"--{name.replace('_', '-')}", str(value)] if value is not None else []
    for setting in parsed.settings:
        words += ["--set", setting]
    return shlex.join(words)
