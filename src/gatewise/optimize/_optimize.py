"""An ONNX file whose activations are written in pieces becomes one in which each is a single operation."""

import shutil
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from gatewise.core import Comparison, GatewiseError
from gatewise.graphs import Found, Graph, Site, find_sites, read_onnx

from ._inputs import Feed, batches, random_feeds, read_feed
from ._measure import gain
from ._ops import activation_of, fused_ops
from ._pieces import TOLERANCE, Candidate, session, told, try_ops
from ._rewrite import Fusion, fuse, inside

SCHEMA = "gatewise.optimize/1"
NOT_SLOWER = 1.02
"""A fused operation is taken unless, alone, it takes longer than this many times the pieces' time."""

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What became of one site. `taken` is the operation that stands there now, or None with the reason."""

    site: Site
    tried: tuple[Candidate, ...]
    taken: Candidate | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Gain:
    """The measured effect on the time of a call of the whole model, one per batch size."""

    batch: int
    time: Comparison
    twin: Comparison


@dataclass(frozen=True, kw_only=True)
class Optimized:
    """What `optimize` did.

    Attributes:
        source, out: the two files; `out` is a copy of `source`, byte by byte, where nothing was replaced.
        sites: how many activations and gates the model has; those that were in pieces are in `repairs`.
        difference: the largest |after - before| / max(1, |before|) over outputs on the checked inputs; 0 for a copy.
        checked: on which inputs.
        gains: measured on this machine with ONNX Runtime; empty when nothing was replaced or it was not asked.
    """

    source: Path
    out: Path
    sites: int
    repairs: tuple[Repair, ...]
    difference: float
    checked: str
    gains: tuple[Gain, ...]
    threads: int

    @property
    def replaced(self) -> tuple[Repair, ...]:
        """Those that are one operation now."""
        return tuple(repair for repair in self.repairs if repair.taken is not None)


def optimize(
    source: Path, out: Path, *, data: Path | None = None, threads: int = 1, timed: bool = True, tell: Tell = print
) -> Optimized:
    """Fuse, check, measure and write.

    Each site that is written in pieces and whose function is known by its numbers is tried alone: a fused operation
    is taken when it gives the same values (to 1e-5) and is not slower there. The whole model must then give the same
    outputs, on random inputs and on `data` (an .npz file), before anything is written.

    Raises:
        GatewiseError: a file that is no model, inputs that do not fit, outputs that moved, `out` that exists.
    """
    import onnx

    if out.exists():
        raise GatewiseError(f"{out} is there already; give another --out")
    if not out.parent.is_dir():
        raise GatewiseError(f"there is no folder {out.parent}")
    graph = read_onnx(source)
    feeds = [read_feed(data, graph)] if data else []
    outside = _outside(onnx, source, out)
    model = onnx.load(str(source))
    sites, _ = find_sites(graph)
    repairs = _agreed([_try(model, graph, site, threads, tell) for site in sites if not site.fused])
    fusions = [Fusion(site=r.site, op=r.taken.op) for r in repairs if r.taken]
    if not fusions:
        _copy(source, out)
        return Optimized(
            source=source, out=out, sites=len(sites), repairs=tuple(repairs), difference=0.0,
            checked="nothing was replaced: the same bytes", gains=(), threads=threads,
        )  # fmt: skip
    fused = fuse(model, fusions)
    tell("checking outputs")
    difference, checked, used = _compare(model, fused, graph, feeds, threads)
    if not difference <= TOLERANCE:
        hint = "" if feeds else "\nrandom inputs may mean nothing to this model; give real ones with --data FILE.npz"
        raise GatewiseError(f"with fused activations outputs differ by {difference:.1e}; nothing was written{hint}")
    _write(onnx, fused, outside, out)
    gains: list[Gain] = []
    for batch, feed in used.items() if timed else ():
        tell(f"timing both at batch {batch}")
        time, twin = gain(source, out, feed, threads=threads)
        gains.append(Gain(batch=batch, time=time, twin=twin))
    return Optimized(
        source=source, out=out, sites=len(sites), repairs=tuple(repairs), difference=difference, checked=checked,
        gains=tuple(gains), threads=threads,
    )  # fmt: skip


def _agreed(repairs: Sequence[Repair]) -> list[Repair]:
    """Sites written alike get the same operation: the one that is best over all of them, by the median of its ratios.

    One site alone is timed for a moment only; without this, noise would decide which of twelve equal layers is fused.
    """
    groups: dict[object, list[Repair]] = {}
    for repair in repairs:
        key = repair.site.kind, repair.site.found.name, repair.site.ops, [c.op.name for c in repair.tried]
        groups.setdefault(str(key), []).append(repair)
    found: dict[str, Repair] = {}
    for group in groups.values():
        ratios = [median(repair.tried[i].ratio for repair in group) for i in range(len(group[0].tried))]
        good = [
            (ratio, i)
            for i, ratio in enumerate(ratios)
            if ratio <= NOT_SLOWER and not any(repair.tried[i].reason for repair in group)
        ]
        for repair in group:
            taken = repair.tried[min(good)[1]] if good else None
            slow = [f"{c.op.name}: {c.reason or _slower(r)}" for c, r in zip(repair.tried, ratios, strict=True)]
            reason = "" if taken else repair.reason or "; ".join(slow)
            found[repair.site.output] = replace(repair, taken=taken, reason=reason)
    return [found[repair.site.output] for repair in repairs]


def _slower(ratio: float) -> str:
    return f"alone it is slower ({ratio:.2f} times the time of the pieces)"


def _scalar(site: Site) -> Found | None:
    """The scalar function that one operation could compute: the site's own, or that of a gate's activation."""
    if site.kind == "scalar":
        return site.found
    act = activation_of(site.found.name) if site.found.name else None
    if act is None or set(site.found.settings) - {"beta"}:
        return None
    if "beta" in site.found.settings:
        return Found(name=None, nearest="silu", distance=0.0, settings=dict(site.found.settings))
    return Found(name=act, nearest=act, distance=0.0)


def _without(found: Found, opset: int) -> str:
    """Why no fused operation stands for a function."""
    if found.name is None:
        near = f"{found.nearest} is nearest, {found.distance:.1e} away" if found.nearest else "nothing is near"
        return f"it is no function of the table ({near})"
    return f"no operation of operator set {opset} computes {found.name}"


def _opset(graph: Graph) -> int:
    return int(graph.facts["opsets"]["ai.onnx"])


def _try(model: Any, graph: Graph, site: Site, threads: int, tell: Tell) -> Repair:
    scalar = _scalar(site)
    ops = fused_ops(scalar, _opset(graph)) if scalar else ()
    if not ops:
        return Repair(site=site, tried=(), taken=None, reason=_without(site.found, _opset(graph)))
    if set(site.dtype.split()) - {"float32", ""}:
        return Repair(site=site, tried=(), taken=None, reason=f"it is computed in {site.dtype}, not in float32")
    outside = {graph.dtypes.get(name, "float32") for name in (*site.inputs, site.output)} - {"float32"}
    within = inside(model.graph, site)
    if outside or any("Quantize" in node.op_type and node.output[0] in within for node in model.graph.node):
        return Repair(site=site, tried=(), taken=None, reason="it works on quantised values")
    local = {(function.domain, function.name) for function in model.functions}
    if any(site.output in node.output and (node.domain, node.op_type) in local for node in model.graph.node):
        return Repair(site=site, tried=(), taken=None, reason="it stands inside a function of the model")
    if not any(site.output in node.output for node in model.graph.node):
        return Repair(site=site, tried=(), taken=None, reason="it stands inside control flow")
    tell(f"trying {site.path}")
    try:
        tried = try_ops(model, site, ops, threads=threads)
    except GatewiseError as error:
        return Repair(site=site, tried=(), taken=None, reason=str(error))
    return Repair(site=site, tried=tuple(tried), taken=None, reason="")


def _compare(
    before: Any, after: Any, graph: Graph, given: Sequence[Feed], threads: int
) -> tuple[float, str, dict[int, Feed]]:
    """The largest difference of outputs, on which inputs, and one feed for each batch size that ran."""
    one, other = session(before, threads), session(after, threads)
    worst, finite, used = 0.0, False, dict[int, Feed]()
    for feed in given:
        wanted = _outputs(one, feed)
        finite = finite or _some_finite(wanted)
        worst = max(worst, _difference(wanted, _outputs(other, feed)))
        used[len(next(iter(feed.values())))] = feed
    failed = ""
    for batch in batches(graph) if not given else ():
        for seed in range(3):
            for feed in random_feeds(graph, batch, seed=seed):
                try:
                    wanted = _outputs(one, feed)
                except GatewiseError as error:
                    failed = str(error)
                    continue
                finite = finite or _some_finite(wanted)
                worst = max(worst, _difference(wanted, _outputs(other, feed)))
                used.setdefault(batch, feed)
                break
    if not finite and used:
        raise GatewiseError(
            "the model gives no finite number on these inputs, so nothing can be compared\n"
            "give others with --data FILE.npz"
        )
    if not used:
        raise GatewiseError(f"random inputs do not suit the model ({failed})\ngive real ones with --data FILE.npz")
    sizes = ", ".join(map(str, used))
    return worst, f"{'the given' if given else 'random'} inputs, batch {sizes}", used


def _outputs(found: Any, feed: Feed) -> list[Any]:
    try:
        return found.run(None, feed)
    except Exception as error:  # the engine's own errors share no base class
        raise GatewiseError(told(error)) from error


def _some_finite(outputs: Sequence[Any]) -> bool:
    arrays = [np.asarray(output) for output in outputs]
    return any(array.dtype.kind not in "fc" or bool(np.isfinite(array).any()) for array in arrays)


def _difference(wanted: Sequence[Any], got: Sequence[Any]) -> float:
    worst = 0.0
    for a, b in zip(wanted, got, strict=True):
        one, other = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
        if one.shape != other.shape:
            return float("inf")
        equal = (one == other) | (np.isnan(one) & np.isnan(other))
        with np.errstate(invalid="ignore"):
            error = np.where(equal, 0.0, np.abs(one - other) / np.maximum(1.0, np.abs(one)))
        worst = max(worst, float(np.nan_to_num(error, nan=np.inf).max(initial=0.0)))
    return worst


def _copy(source: Path, out: Path) -> None:
    """The same bytes under another name; weights that lie beside the old file are found by the new one too."""
    with _whole(out) as partial:
        shutil.copyfile(source, partial)


@contextmanager
def _whole(out: Path) -> Generator[Path]:
    """A name to write to; what stands there becomes `out` at the end, and nothing is left where that fails."""
    partial = out.with_name(f"{out.name}.partial")
    try:
        yield partial
        partial.replace(out)
    except OSError as error:
        raise GatewiseError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        if partial.exists():
            partial.unlink()


def _write(onnx: Any, model: Any, outside: Path | None, out: Path) -> None:
    """The new file; weights that lay beside the old one are put beside the new one, first, and not left there alone."""
    with _whole(out) as partial:
        if outside is None:
            partial.write_bytes(model.SerializeToString())
            return
        # Written where nothing else stands, then moved: what is half written is never called by its name.
        with (
            _whole(outside) as weights,
            tempfile.TemporaryDirectory(dir=out.parent, prefix=f"{out.name}.") as folder,
        ):
            whole = Path(folder) / out.name
            onnx.save_model(model, str(whole), save_as_external_data=True, location=outside.name, size_threshold=1024)
            whole.replace(partial)
            shutil.copymode(partial, whole.with_name(outside.name))
            whole.with_name(outside.name).replace(weights)


def _outside(onnx: Any, source: Path, out: Path) -> Path | None:
    """Where the new file keeps its weights, where the old one keeps them beside itself."""
    tensors = onnx.load(str(source), load_external_data=False).graph.initializer
    if not any(tensor.HasField("data_location") for tensor in tensors):
        return None
    found = out.with_name(f"{out.name}.data")
    if found.exists():
        raise GatewiseError(f"{found} is there already, where the weights would go; give another --out")
    return found
