"""Which activations a graph still computes in pieces, after an engine has fused what it knows."""

from collections import Counter
from pathlib import Path

PIECES = ("Erf", "Tanh", "Sigmoid")
"""Operations that inside a model mostly are pieces of GELU, SiLU and their kin."""


def apart(path: Path) -> tuple[str, ...]:
    """One note on the pieces of activations in an ONNX file that an engine has optimised; none where none are left."""
    import onnx

    if not path.is_file():
        return ()
    nodes = onnx.load(str(path), load_external_data=False).graph.node
    return told(Counter(node.op_type for node in nodes))


def told(kinds: Counter[str]) -> tuple[str, ...]:
    """The note, from how often each kind of operation stands in a graph."""
    left = {kind: kinds[kind] for kind in PIECES if kinds[kind]}
    if not left:
        return ()
    listed = ", ".join(f"{count} {kind}" for kind, count in left.items())
    return (f"after the engine's own optimisation {listed} stand as operations of their own (not fused)",)
