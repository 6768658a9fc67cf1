"""What `gatewise register`, `promote`, `rollback` and `versions` take."""

import argparse
from collections.abc import Callable

Add = Callable[..., argparse.ArgumentParser]

DEFAULT_REGISTRY = "gatewise-registry"
_ALIASES = ("live", "shadow", "canary")


def register(add: Add) -> None:
    """`gatewise register`."""
    command = add(
        "register",
        help="put an immutable version of a model into a registry",
        description="Copy a model's files into a registry under the hash of their content, write down which activation "
        "each place computes and what a few inputs give, and call it a version. Loading checks all of it again.",
        epilog="exit codes: 0 registered (or it was already), 2 bad input",
    )
    command.add_argument(
        "target", metavar="MODEL", help="a model folder, a workload, package.module:function, a .onnx or .xml file"
    )
    command.add_argument("--as", dest="model", required=True, metavar="NAME", help="the name that it is served under")
    command.add_argument("--version", required=True, metavar="LABEL", help="the version's label: v1, 2026-05-01, ...")
    command.add_argument("--runtime", default="", metavar="NAME", help="what executes it (default: eager)")
    command.add_argument("--precision", default="", metavar="DTYPE", help="cast to float32, bfloat16 or float16 first")
    command.add_argument("--threads", type=int, default=1, metavar="N", help="threads of a call (default: 1)")
    command.add_argument("--study", default="", metavar="DIR", help="the study that justifies it (result.json)")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="tokens=16 (of the probes), calibration=FILE.npz, or an option of the workload: dim=64",
    )
    _registry(command)


def promote(add: Add) -> None:
    """`gatewise promote`."""
    command = add(
        "promote",
        help="point live, canary or shadow at a version",
        description="Move an alias of a model by compare-and-swap. With --expect nothing moves where the alias points "
        "elsewhere by now. The version `none` empties canary or shadow.",
        epilog="exit codes: 0 moved (or it was there already), 2 bad input, or somebody else was first",
    )
    command.add_argument("model", metavar="NAME", help="the served name")
    command.add_argument("version", metavar="VERSION", help="a label, another alias, a digest, or none")
    command.add_argument("--to", default="live", choices=_ALIASES, help="which alias (default: live)")
    _moving(command)


def rollback(add: Add) -> None:
    """`gatewise rollback`."""
    command = add(
        "rollback",
        help="point live, canary or shadow at what it pointed at before",
        description="Take the last promotion of an alias back. Twice goes two promotions back.",
        epilog="exit codes: 0 rolled back, 2 bad input, nothing to roll back to, or somebody else was first",
    )
    command.add_argument("model", metavar="NAME", help="the served name")
    command.add_argument("--alias", dest="to", default="live", choices=_ALIASES, help="which alias (default: live)")
    _moving(command)


def versions(add: Add) -> None:
    """`gatewise versions`."""
    command = add(
        "versions",
        help="the versions of a registry, where the aliases point and how they got there",
        description="List the models of a registry, or the versions of one with the history of its aliases.",
    )
    command.add_argument("model", nargs="?", metavar="NAME", help="the served name (default: all)")
    _registry(command)


def _moving(command: argparse.ArgumentParser) -> None:
    command.add_argument("--expect", metavar="VERSION", help="move only where the alias points at this now (or: none)")
    command.add_argument("--because", default="", metavar="TEXT", help="why; kept in the history")
    _registry(command)


def _registry(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--registry", default=DEFAULT_REGISTRY, metavar="DIR", help=f"the registry (default: {DEFAULT_REGISTRY})"
    )
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
