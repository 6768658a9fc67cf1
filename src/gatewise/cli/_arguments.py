"""What the command line takes. Names of plug-ins are checked where they are used, so that parsing imports nothing."""

import argparse
from collections.abc import Callable

from . import (
    _edge_arguments,
    _monitor_arguments,
    _serve_arguments,
    _swap_arguments,
    _table_arguments,
    _train_arguments,
    _versions_arguments,
)

Add = Callable[..., argparse.ArgumentParser]

COMMANDS = {
    "evaluate": "._evaluate",
    "inspect": "._inspect",
    "lock": "._lock",
    "check": "._lock",
    "swap": "._swap",
    "table": "._table",
    "train": "._train",
    "optimize": "._optimize",
    "scenarios": "._scenarios",
    "dilution": "._dilution",
    "report": "._report",
    "claims": "._claims",
    "doctor": "._doctor",
    "register": "._versions",
    "promote": "._versions",
    "rollback": "._versions",
    "versions": "._versions",
    "serve": "._serve",
    "proxy": "._proxy",
    "monitor": "._monitor",
    "forward": "._edge",
    "collect": "._edge",
}

DEFAULT_OUT = "gatewise-out"


def parser(version: str) -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(
        prog="gatewise",
        description="An honest judge for changes of activation, gate, runtime and precision: "
        "does it pay on your model, your data and your hardware?",
    )
    top.add_argument("--version", action="version", version=f"gatewise {version}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    for describe in DESCRIPTIONS:
        describe(commands.add_parser)
    return top


def _evaluate(add: Add) -> None:
    command = add(
        "evaluate",
        help="the main job: a study from plan to report",
        description="Run a study and write result.json, report.md and report.html. Without PLAN: the built-in study "
        "(MiniLM inference, byte-lm training) on real models and data.",
        epilog="exit codes: 0 done, 2 bad input; with --fail-on 1 the gate failed, 3 it could not be decided",
    )
    command.add_argument(
        "plan", nargs="?", metavar="PLAN", help="PLAN.toml, a workload, a model folder, or package.module:function"
    )
    command.add_argument("--workload", metavar="NAME", help="a built-in workload: sentence-encoder, byte-lm")
    command.add_argument(
        "--arms",
        metavar="A,B,…",
        help="activations and gates, the first is the baseline; "
        "swiglu:none is swiglu in another matching (none, params, flops, time), swiglu:gatewise on native kernels",
    )
    command.add_argument("--seeds", type=int, metavar="N", help="train the arms from scratch with N paired seeds")
    command.add_argument("--budget", metavar="TIME", help="stop after this time: 90s, 2m, 1h")
    command.add_argument("--out", metavar="DIR", help=f"the record's folder (default: {DEFAULT_OUT}, or the next free)")
    command.add_argument("--resume", action="store_true", help="go on with the study in --out")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="anything in a plan: measure.batch=[1,8], judge.margin.latency=0.05, study.baseline=relu",
    )
    command.add_argument(
        "--on", metavar="WHERE", help="where arms are trained: processes (default), dask, or dask://HOST:PORT"
    )
    command.add_argument("--fail-on", choices=("worse", "not-better"), help="make the exit code a gate")
    command.add_argument("--json", action="store_true", help="print result.json on standard output and nothing else")


def _inspect(add: Add) -> None:
    command = add(
        "inspect",
        help="which activation each place of a model really computes",
        description="Compute every activation and gate of a model on probes and say which function it is, how it is "
        "written and what the layers around it weigh. With --against: where another model computes something else.",
        epilog="exit codes: 0 done, 2 bad input; with --fail-on mismatch 1 the models differ",
    )
    command.add_argument(
        "model",
        metavar="MODEL",
        help="a workload, a model folder, package.module:function, or a .onnx, .xml (OpenVINO) or .safetensors file",
    )
    command.add_argument("--against", metavar="MODEL", help="another form of the same model; every mismatch is shown")
    command.add_argument("--data", metavar="FILE.npz", help="arrays by input name, for ranges and dead units")
    command.add_argument("--fail-on", choices=("mismatch",), help="make the exit code a gate")
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def _lock(add: Add) -> None:
    command = add(
        "lock",
        help="write down what was accepted of a model, beside it",
        description="Write MODEL.lock.json (gatewise.lock.json in a folder): functions, hashes of weights, figures of "
        "a study. Where a lock is already and something changed, --because has to say why.",
    )
    command.add_argument("model", metavar="MODEL", help="as for gatewise inspect")
    command.add_argument("--study", metavar="DIR", help="keep the figures of this study (result.json)")
    command.add_argument("--because", metavar="TEXT", help="why it changed; kept in the lock's history")
    command.add_argument("--json", action="store_true", help="print the lock and nothing else")


def _check(add: Add) -> None:
    command = add(
        "check",
        help="whether a model is still what was locked",
        description="Compare a model, and a new study of it, with its lock: the gate against silent changes.",
        epilog="exit codes: 0 as locked, 1 something changed and nobody said why, 2 bad input (no lock, damaged lock)",
    )
    command.add_argument("model", metavar="MODEL", help="as for gatewise inspect")
    command.add_argument("--study", metavar="DIR", help="compare the figures of this study with the locked ones")
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def _optimize(add: Add) -> None:
    command = add(
        "optimize",
        help="activations written in pieces, in an ONNX file, become single operations",
        description="Find every GELU, SiLU or other activation of an ONNX file that is written in several operations, "
        "put one operation in its place where that gives the same values and is not slower, check the outputs of the "
        "whole model, and measure what it brought. What cannot be replaced is named with the reason.",
    )
    command.add_argument("model", metavar="MODEL.onnx", help="the file; it is not changed")
    command.add_argument("--out", required=True, metavar="FILE.onnx", help="where the new model is written")
    command.add_argument("--data", metavar="FILE.npz", help="real inputs, one array for each input by its name")
    command.add_argument("--threads", type=int, default=1, metavar="N", help="threads of ONNX Runtime (default: 1)")
    command.add_argument("--no-timing", action="store_true", help="do not measure the whole model before and after")
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def _scenarios(add: Add) -> None:
    command = add(
        "scenarios",
        help="latency and throughput as services see them, and what a request costs",
        description="Run a model under a load scenario: SingleStream, MultiStream, Offline, or Server (the highest "
        "rate of random arrivals that holds a limit on the 99th percentile).",
    )
    command.add_argument("model", metavar="MODEL", help="a workload, a model folder, or package.module:function")
    command.add_argument("--scenario", metavar="NAME", help="single-stream, multi-stream, offline or server")
    command.add_argument("--p99", metavar="TIME", help="server: the limit on the 99th percentile: 50ms, 0.2s")
    command.add_argument("--runtime", metavar="NAME", help="what executes the model (default: eager)")
    command.add_argument("--batch", type=int, metavar="N", help="the largest batch")
    command.add_argument("--budget", metavar="TIME", help="stop after this time: 60s, 2m")
    command.add_argument("--price-per-hour", type=float, metavar="P", help="of the machine; needs --utilisation")
    command.add_argument("--utilisation", type=float, metavar="U", help="the share of an hour in which it answers")
    command.add_argument("--profile", metavar="NAME", help="edge, cloud, or hybrid (edge first, cloud in doubt)")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="out=DIR for a page; docs/scenarios.md",
    )
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def _dilution(add: Add) -> None:
    command = add(
        "dilution",
        help="what is left of an activation's gain from the operator alone to a whole request",
        description="Time the same arms as an operator, an FFN block, a layer, a whole model and a request, and write "
        "one table and one figure: the activation's share of the time, and each arm's time against GELU's.",
        epilog="exit codes: 0 done, whatever came out; 2 bad input",
    )
    command.add_argument("--arms", metavar="A,B,…", help="activations and gates beside gelu (default: relu,swiglu)")
    command.add_argument("--budget", metavar="TIME", help="stop after this time: 5m, 1h (default: 15m)")
    command.add_argument("--threads", type=int, default=1, metavar="N", help="threads of a call (default: 1)")
    command.add_argument("--out", metavar="DIR", help="the record's folder (default: gatewise-dilution)")
    command.add_argument("--resume", action="store_true", help="go on with the study in --out")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="tokens=1,128 dtypes=float32 levels=operator,ffn,layer,model,request dim=384 layers=2 heads=6 seed=0",
    )
    command.add_argument("--json", action="store_true", help="print dilution.json on standard output and nothing else")


def _report(add: Add) -> None:
    command = add(
        "report",
        help="render a stored study again",
        description="Write result.json, report.md and report.html of a stored study, finished or not.",
    )
    command.add_argument("study", metavar="STUDY", help="the folder of a study")
    command.add_argument("--out", metavar="DIR", help="where to write (default: the study's folder)")
    command.add_argument("--json", action="store_true", help="print result.json on standard output and nothing else")


def _claims(add: Add) -> None:
    command = add(
        "claims",
        help="published claims about activations, graded on this machine",
        description="Run the plans of claims and grade them: supported, refuted, equivalent, inconclusive, or not "
        "testable here. What was measured before in --out is not measured again.",
    )
    command.add_argument("ids", nargs="*", metavar="ID", help="claims to run (default: all that can run here)")
    command.add_argument("--list", action="store_true", help="list the claims and run nothing")
    command.add_argument("--published", action="store_true", help="recompute published tables instead; runs no model")
    command.add_argument("--file", metavar="FILE.toml", help="claims (or, with --published, tables) of your own")
    command.add_argument("--budget", metavar="TIME", help="stop after this time: 3m, 1h (default: what the claims ask)")
    command.add_argument("--seeds", type=int, metavar="N", help="seeds of claims that train: a new look at them")
    command.add_argument(
        "--kernels",
        choices=["gatewise"],
        help="run the plans on gatewise's native kernels too: a column beside the grades, which stay stock's",
    )
    command.add_argument("--out", metavar="DIR", help="where records and page go (default: gatewise-claims)")
    command.add_argument("--merge", nargs="+", metavar="RESULT", help="show results of several machines side by side")
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def _doctor(add: Add) -> None:
    command = add(
        "doctor",
        help="what is installed, what this machine can do, and whether its measurements can be trusted",
        description="Look at the machine for a few seconds. With --aa: run studies of identical arms and print how "
        "often they cried wolf and the smallest difference they could have seen. With --explain: print instead which "
        "kernels run here and which ways of computing were chosen on this machine, by what times.",
        epilog="exit codes: 0 done, 2 bad input, 130 stopped by Ctrl-C (what was finished is kept)",
    )
    command.add_argument("--aa", action="store_true", help="run A/A studies on this machine")
    command.add_argument("--explain", action="store_true", help="say which kernels and ways of computing run, and why")
    command.add_argument("--studies", type=int, metavar="N", help="how many studies (default: what the budget allows)")
    command.add_argument("--budget", metavar="TIME", help="the time for all (default: 5m, or what --studies take)")
    command.add_argument("--workload", metavar="NAME", help="what the A/A studies run (default: ffn)")
    command.add_argument("--out", metavar="DIR", help="keep the A/A records here; a later call adds to them")
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


DESCRIPTIONS: tuple[Callable[[Add], None], ...] = (
    _evaluate,
    _inspect,
    _lock,
    _check,
    _swap_arguments.swap,
    _table_arguments.table,
    _train_arguments.train,
    _optimize,
    _scenarios,
    _dilution,
    _report,
    _claims,
    _doctor,
    _versions_arguments.register,
    _versions_arguments.promote,
    _versions_arguments.rollback,
    _versions_arguments.versions,
    _serve_arguments.serve,
    _edge_arguments.proxy,
    _monitor_arguments.monitor,
    _edge_arguments.forward,
    _edge_arguments.collect,
)
