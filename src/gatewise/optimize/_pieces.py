"""One site alone, as a small ONNX model: as it is written, and fused. Which of them is right, and which is faster."""

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from gatewise.core import GatewiseError, MissingExtraError
from gatewise.graphs import Site

from ._ops import FusedOp
from ._rewrite import Fusion, fuse, inside

TOLERANCE = 1e-5
"""The largest difference of outputs, for each unit of what is compared, that counts as the same function."""

ROWS = 64
WIDTH = 1024
ROUNDS = 41


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One fused operation, tried in the place of one site.

    Attributes:
        op: the operation.
        difference: the largest |fused - pieces| / max(1, |x|) over probes x from -30 to 30, for a gate divided by
            max(1, |up|) as well; inf where it did not run.
        ratio: its time against the pieces alone, the median of interleaved calls. A first look, no verdict.
        reason: why it is not taken; "" where it may be.
    """

    op: FusedOp
    difference: float
    ratio: float
    reason: str


def session(model: Any, threads: int) -> Any:
    """ONNX Runtime with all of its own optimisations, on that many threads, not spinning between calls.

    Raises:
        GatewiseError: the model is refused.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, (str, bytes)) else model.SerializeToString()
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the engine's own errors share no base class
        raise GatewiseError(f"ONNX Runtime does not take the model: {told(error)}") from error


def told(error: Exception) -> str:
    """An error of an engine in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


def alone(model: Any, site: Site) -> Any:
    """The site's own nodes as a model with the inputs and the output of the site, all float32 of two dimensions."""
    import onnx

    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    values = {*inside(model.graph, site), site.output}
    nodes = [node for node in model.graph.node if any(name in values for name in node.output)]
    made = {name for node in nodes for name in node.output}
    read = {name for node in nodes for name in node.input if name} - made - set(site.inputs)
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    if read - {tensor.name for tensor in kept}:
        raise GatewiseError(f"{site.path}: its constants are computed elsewhere in the graph")
    shape = ["rows", WIDTH]
    graph = helper.make_graph(
        nodes,
        "site",
        [helper.make_tensor_value_info(name, floats, shape) for name in site.inputs],
        [helper.make_tensor_value_info(site.output, floats, shape)],
        kept,
    )
    return helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)


def try_ops(model: Any, site: Site, ops: Sequence[FusedOp], *, threads: int) -> list[Candidate]:
    """Every operation in the place of one site: does it run, is it the same function, is it faster alone?

    Raises:
        GatewiseError: the site cannot be taken out of its graph.
    """
    pieces = session(alone(model, site), threads)
    sessions: dict[int, Any] = {}
    found: dict[int, Candidate] = {}
    for number, op in enumerate(ops):
        try:
            sessions[number] = session(fuse(alone(model, site), [Fusion(site=site, op=op)]), threads)
        except GatewiseError as error:
            found[number] = Candidate(op=op, difference=math.inf, ratio=math.nan, reason=str(error))
    probes = _probes(len(site.inputs))
    feed = dict(zip(site.inputs, probes, strict=True))
    wanted = pieces.run(None, feed)[0].astype(np.float64)
    scale = np.prod([np.maximum(1.0, np.abs(probe)) for probe in probes], axis=0)
    for number in list(sessions):
        got = sessions[number].run(None, feed)[0].astype(np.float64)
        difference = float((np.abs(got - wanted) / scale).max())
        if not difference <= TOLERANCE:
            reason = f"its values differ by {difference:.1e}"
            found[number] = Candidate(op=ops[number], difference=difference, ratio=math.nan, reason=reason)
            del sessions[number]
        else:
            found[number] = Candidate(op=ops[number], difference=difference, ratio=math.nan, reason="")
    times = _times([pieces, *sessions.values()], feed)
    for number, ratio in zip(sessions, times[1:], strict=True):
        found[number] = replace(found[number], ratio=ratio / times[0])
    return [found[number] for number in sorted(found)]


def _probes(count: int) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    grid = np.linspace(-30.0, 30.0, ROWS * WIDTH, dtype=np.float32).reshape(ROWS, WIDTH)
    return [grid, *(rng.standard_normal((ROWS, WIDTH)).astype(np.float32) * 3 for _ in range(count - 1))]


def _times(sessions: Sequence[Any], feed: dict[str, Any]) -> list[float]:
    """The median time of a call of each, interleaved in random order, in seconds."""
    rng = random.Random(0)
    values: list[list[float]] = [[] for _ in sessions]
    for _ in range(ROUNDS):
        for number in rng.sample(range(len(sessions)), len(sessions)):
            start = time.perf_counter()
            sessions[number].run(None, feed)
            values[number].append(time.perf_counter() - start)
    return [median(taken) for taken in values]
