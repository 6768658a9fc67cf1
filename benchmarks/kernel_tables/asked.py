"""What is asked of the kernels, once, as data. The figures are those of the issue; nothing measured stands here."""

from collections.abc import Sequence

from .targets import Target

THREADS = 1
"""The judged number of threads; tables of others are printed and not judged."""
RECYCLED, FRESH = f"recycled memory, {THREADS} thread", f"fresh memory, {THREADS} thread"
TOKENS = (1, 4, 16, 128, 512, 2048)
FEW_TOKENS = (1, 4, 16)
"""Tokens at which reading the weights may be the limit."""
BEST_CONFIGURED = (128, 2048)
"""Tokens at which blocks stand beside the best-configured peers as well."""
NOT_UNDER, WITHIN_S = 0.95, 1e-6
"""Of every function in every direction, dtype and size: at least this ratio, or no slower than eager by this."""
AIM_S = 1e-6
"""A call on 16 elements under inference mode aims at F.silu's time plus this."""


def _elementwise() -> list[Target]:
    rows = {
        "gelu forward": (1.8, 2.2, "copy"),
        "gelu backward": (3.0, 4.0, "triad"),
        "swiglu forward": (2.5, 3.5, "triad"),
        "swiglu backward": (2.2, 3.0, "gate"),
        "swiglu both ways": (1.9, 2.3, None),
    }
    section = f"elementwise 64x3072, {RECYCLED}"
    found: list[Target] = []
    for row, (f32, bf16, pattern) in rows.items():
        bounds = (f"limit {pattern}",) if pattern else ("kernels alone", "kernels and autograd", "traffic alone")
        high = 1.3 if row == "gelu forward" else f32
        for dtype, candidate, least in (("f32", "ours", f32), ("f32", "ours high", high), ("bf16", "ours", bf16)):
            found.append(
                Target(
                    part="elementwise",
                    section=section,
                    row=f"{row} {dtype}",
                    baseline="eager",
                    candidate=candidate,
                    least=least,
                    limits=bounds,
                )
            )
    return found


def _dram(shape: str) -> list[Target]:
    shares = {
        "gelu forward": ("copy", 0.90, 0.75),
        "gelu backward": ("triad", 0.85, 0.85),
        "swiglu forward": ("triad", 0.85, 0.85),
        "swiglu backward": ("gate", 0.85, 0.85),
    }
    section = f"DRAM-sized {shape}, {RECYCLED}"
    found: list[Target] = []
    for row, (pattern, f32, bf16) in shares.items():
        into = " out=" if row.endswith("forward") else ""
        for dtype, who, least in (("f32", "ours", f32), ("f32", "ours high", f32), ("bf16", "ours", bf16)):
            found.append(
                Target(
                    part="dram",
                    section=section,
                    row=f"{row} {dtype}",
                    baseline=f"limit {pattern}",
                    candidate=f"{who}{into}",
                    least=least,
                    limits=("arithmetic alone high" if who == "ours high" else "arithmetic alone",),
                )
            )
    for dtype, least in (("f32", 1.3), ("bf16", 2.0)):
        for who in ("ours", "ours high") if dtype == "f32" else ("ours",):
            found.append(
                Target(
                    part="dram",
                    section=section,
                    row=f"swiglu both ways {dtype}",
                    baseline="compile",
                    candidate=who,
                    least=least,
                    limits=("kernels alone", "traffic alone"),
                )
            )
    return found


def _small() -> list[Target]:
    section = f"calls on 16 elements, {RECYCLED}"
    return [
        Target(
            part="small",
            section=section,
            row=f"{name} {mode} {dtype}",
            baseline="F.gelu",
            candidate="ours",
            least=1.0,
        )
        for name in ("gelu", "silu", "swiglu")
        for mode in ("inference mode", "no_grad", "autograd")
        for dtype in ("f32", "bf16")
    ]


def _ffn(tokens: Sequence[int]) -> list[Target]:
    section = f"FFN inference f32, {RECYCLED}"
    found: list[Target] = []
    for dim in (384, 768):
        for number in tokens:
            row = f"swiglu d = {dim}, {number} tokens"
            asked = {"eager": 1.0, "limit read_all": 0.8}
            if number > 1:
                asked = {"eager": 2.2, "onnxruntime": 1.0, "openvino": 1.0}
            if number in BEST_CONFIGURED:
                asked |= {"zentorch": 1.0, "compile-frozen": 1.0}
            for baseline, least in asked.items():
                bounds = ("limit read_all",) if number in FEW_TOKENS else ()
                bounds += ("limit matmul", "limit arithmetic") if number > 1 else ()
                found.append(
                    Target(
                        part="ffn",
                        section=section,
                        row=row,
                        baseline=baseline,
                        candidate="ours",
                        least=least,
                        limits=tuple(bound for bound in bounds if bound != baseline),
                    )
                )
    return found


def _step(
    part: str,
    section: str,
    rows: Sequence[str],
    asked: dict[str, tuple[float, float | None]],
    bounds: tuple[str, ...] = ("limit matmul", "limit arithmetic"),
) -> list[Target]:
    return [
        Target(
            part=part,
            section=f"{section}, {RECYCLED}",
            row=row,
            baseline=baseline,
            candidate="ours",
            least=least,
            aim=aim,
            limits=bounds if not baseline.startswith("limit") else (),
        )
        for row in rows
        for baseline, (least, aim) in asked.items()
    ]


def _peak(part: str, section: str, rows: Sequence[str], least: float) -> list[Target]:
    return [
        Target(part=part, section=f"{section}, {FRESH}", row=row, baseline="eager", candidate="ours", least=least)
        for row in rows
    ]


def targets() -> list[Target]:
    """All that are ratios; the sweep, the gradients and the losses are judged in `special.py`."""
    widths = [f"swiglu d = {dim}" for dim in (384, 768)]
    lm = ("limit matmul", "matmul alone replaced")
    train = {"eager": (1.75, 2.0), "compile": (1.55, None), "limit matmul": (0.80, None)}
    return [
        *_elementwise(),
        *_dram("8192x11008"),
        *_small(),
        *_ffn(TOKENS),
        *_step("train", "FFN training step f32", widths, train),
        *_step("bf16", "FFN bf16 forward", widths[1:], {"eager": (1.3, None)}),
        *_step("bf16", "FFN bf16 training step", widths[1:], {"eager": (1 / 1.05, None)}),
        *_peak("bf16", "FFN bf16 forward, peak bytes", widths[1:], 5.0),
        *_peak("bf16", "FFN bf16 training step, peak bytes", widths[1:], 3.0),
        *_step("lm", "byte-lm training step f32", widths, {"eager": (1.5, None), "compile": (1.35, None)}, lm),
        *_step("lm", "byte-lm forward f32", widths, {"zentorch": (1.0, None), "compile-frozen": (1.0, None)}),
        *_peak("lm", "byte-lm training step, peak bytes of activations", widths, 1 / 0.75),
    ]
