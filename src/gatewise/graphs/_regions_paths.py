"""Names of places: what the paths of a site's operations have in common."""

import re
from collections import Counter
from collections.abc import Sequence

from ._graph import Node

# How torch names the value of an operation: the place, the operation, and which of its outputs.
_PLACE = re.compile(r"(/.+)/[^/]+_output_\d+(?:_nchwc)?")
_OPERATION = re.compile(r"[A-Z][A-Za-z0-9]*(_\d+)*")
_PART = re.compile(r"[^/.]+")


def common_path(nodes: Sequence[Node], output: str) -> str:
    """The longest common beginning of the nodes' paths that ends with a whole component; else the place in
    the output's name, or that name.

    The name of an operation at the end of a path (`/mlp/act/Relu`, `/mlp/act/Mul_1`) is no place.
    """
    place = _PLACE.fullmatch(output)
    otherwise = place[1] if place else output
    paths = [_without_operation(node) for node in nodes]
    if not all(paths) or (place and not any("/" in path for path in paths)):
        return otherwise
    first = paths[0]
    ends = [0, *(match.end() for match in _PART.finditer(first))]
    for end in reversed(ends):
        if all(path[:end] == first[:end] and (len(path) == end or path[end] in "/.") for path in paths):
            return first[:end] if _PART.search(first[:end]) else otherwise
    return otherwise


def _without_operation(node: Node) -> str:
    """The path without the operation's own name at its end."""
    head, slash, tail = node.path.rpartition("/")
    own = re.escape(node.op.rpartition(".")[2])
    if re.fullmatch(rf"((node_)?{own}|n\d+)(_\d+)*", tail, flags=re.IGNORECASE):
        return head if slash else ""
    # torch's own names, which OpenVINO keeps for whatever replaces the operation: /mlp/act/Mul_1
    return head if node.path.startswith("/") and _OPERATION.fullmatch(tail) else node.path


def distinct(paths: Sequence[str], outputs: Sequence[str]) -> list[str]:
    """The paths, with the output's name for those that several sites would share."""
    counts = Counter(paths)
    return [
        path if counts[path] == 1 else output if output.startswith(path) else f"{path}/{output}"
        for path, output in zip(paths, outputs, strict=True)
    ]
