"""The short tables: what docs and README show of a run. Nothing in them is written by hand."""

from collections.abc import Sequence
from typing import Any

from .asked import FRESH, RECYCLED, TOKENS
from .figures import Cells, ratio
from .tables import markdown
from .targets import Verdict

WAYS = ("gelu forward", "gelu backward", "swiglu forward", "swiglu backward", "swiglu both ways")
PEERS = ("onnxruntime", "openvino", "compile", "compile-frozen", "zentorch")
MARKS = {"met": "", "NOT met": " ✗", "undecided": " ?", "not measured": ""}


def tables_of(document: dict[str, Any], records: Sequence[Cells], verdicts: Sequence[Verdict], tally: str) -> str:
    """Two sections of Markdown: one for docs/kernels.md, one for the README."""
    about = document["machine"].get("measured on", "")
    marks = "✗: the figure that was asked is not met; ?: undecided, its 95 % interval spans it"
    docs = [
        f"Measured on {about}, {document['minutes']:.0f} minutes, by `python benchmarks/kernels.py`. "
        f"Medians over processes of time of eager / time of ours; {marks}. {tally}.",
        _elementwise(verdicts),
        _ffn(records, verdicts),
        _training(records, verdicts),
        _reasons(verdicts),
    ]
    return "\n\n".join(["## For docs/kernels.md", *docs, "## For the README", _readme(about, verdicts, tally)]) + "\n"


def _cell(verdicts: Sequence[Verdict], part: str, row: str, of: str) -> str:
    for each in verdicts:
        here = (each.part, each.of) == (part, of) and (each.row == row or each.row.startswith(f"{row}, "))
        if here and each.ratio is not None:
            return f"{each.ratio.median:.2f}{MARKS[each.word]}"
    return ""


def _share(verdicts: Sequence[Verdict], row: str, who: str) -> str:
    for each in verdicts:
        baseline, _, candidate = each.of.partition(" / ")
        if each.part != "dram" or each.row != row or each.ratio is None:
            continue
        if candidate.removesuffix(" out=") == who:
            shown = f"{each.ratio.median:.2f} x compile" if baseline == "compile" else f"{each.ratio.median:.0%}"
            return shown.replace("%", " %") + MARKS[each.word]
    return ""


def _elementwise(verdicts: Sequence[Verdict]) -> str:
    kinds = (("f32", "ours"), ("f32", "ours high"), ("bf16", "ours"))
    head = ["", *(f"in cache {d}{w.removeprefix('ours')}" for d, w in kinds)]
    head += [f"DRAM {d}{w.removeprefix('ours')}, of the limit" for d, w in kinds]
    rows = [head]
    for way in WAYS:
        cached = [_cell(verdicts, "elementwise", f"{way} {dtype}", f"eager / {who}") for dtype, who in kinds]
        rows.append([way, *cached, *(_share(verdicts, f"{way} {dtype}", who) for dtype, who in kinds)])
    return markdown(rows)


def _bare(records: Sequence[Cells], key: str, baseline: str, candidate: str) -> str:
    found = ratio(records, key, baseline, candidate)
    return "" if found is None else f"{found.median:.2f}"


def _ffn(records: Sequence[Cells], verdicts: Sequence[Verdict]) -> str:
    rows = [["SwiGLU block, inference f32", "eager / ours", "torch's and oneDNN's products allow"]]
    rows[0] += ["the core allows", *(f"{p} / ours" for p in PEERS)]
    for tokens in TOKENS:
        for dim in (384, 768):
            row = f"swiglu d = {dim}, {tokens} tokens"
            key = f"FFN inference f32, {RECYCLED} :: {row}"
            allowed = _bare(records, key, "eager", "limit matmul")
            if tokens == 1:
                allowed = f"{_bare(records, key, 'eager', 'limit read_all')} (reading)"
            core = _bare(records, key, "eager", "limit arithmetic")
            cells = [_cell(verdicts, "ffn", row, "eager / ours"), allowed, core]
            for peer in PEERS:
                judged = _cell(verdicts, "ffn", row, f"{peer} / ours")
                cells.append(judged or _bare(records, key, peer, "ours"))
            rows.append([f"d = {dim}, {tokens} token{'s' if tokens > 1 else ''}", *cells])
    return markdown(rows)


STEPS = (
    ("train", "FFN training step f32", "swiglu d = {}", (384, 768)),
    ("bf16", "FFN bf16 forward", "swiglu d = {}", (768,)),
    ("bf16", "FFN bf16 training step", "swiglu d = {}", (768,)),
    ("lm", "byte-lm training step f32", "swiglu d = {}", (384, 768)),
    ("lm", "byte-lm forward f32", "swiglu d = {}", (384, 768)),
)
PEAKS = {
    "FFN bf16 forward": "FFN bf16 forward, peak bytes",
    "FFN bf16 training step": "FFN bf16 training step, peak bytes",
    "byte-lm training step f32": "byte-lm training step, peak bytes of activations",
}


def _training(records: Sequence[Cells], verdicts: Sequence[Verdict]) -> str:
    head = ["", "eager / ours", "compile / ours", "torch's and oneDNN's products allow"]
    rows = [
        [
            *head,
            "share of their bound",
            "the core allows",
            "peak, ours of eager",
            "frozen compile / ours",
            "zentorch / ours",
        ]
    ]
    for part, section, pattern, dims in STEPS:
        for dim in dims:
            row = pattern.format(dim)
            key = _key(records, f"{section}, {RECYCLED}", row)
            peak = _key(records, f"{PEAKS.get(section)}, {FRESH}", row)
            found = [
                _named(verdicts, part, f"{row}, ", f"{section}, {RECYCLED}", who) or _bare(records, key, who, "ours")
                for who in ("eager", "compile")
            ]
            found.append(_bare(records, key, "eager", "limit matmul"))
            share = ratio(records, key, "limit matmul", "ours")
            found.append("" if share is None else f"{100 * share.median:.0f} %")
            found.append(_bare(records, key, "eager", "limit arithmetic"))
            size = ratio(records, peak, "ours", "eager")
            mark = _mark(verdicts, f"{PEAKS.get(section)}, {FRESH}", row)
            found.append("" if size is None else f"{size.median:.2f}{mark}")
            found += [_bare(records, key, who, "ours") for who in ("compile-frozen", "zentorch")]
            rows.append([f"{section}, d = {dim}", *found])
    return markdown(rows)


def _key(records: Sequence[Cells], section: str, row: str) -> str:
    begin = f"{section} :: {row}"
    return next((key for record in records for key in record if key == begin or key.startswith(f"{begin}, ")), begin)


def _about(verdicts: Sequence[Verdict], section: str, row: str) -> list[Verdict]:
    return [each for each in verdicts if f", {section}: " in each.target and each.row.startswith(f"{row}, ")]


def _mark(verdicts: Sequence[Verdict], section: str, row: str) -> str:
    return next((MARKS[each.word] for each in _about(verdicts, section, row)), "")


def _named(verdicts: Sequence[Verdict], part: str, row: str, section: str, who: str) -> str:
    for each in _about(verdicts, section, row.removesuffix(", ")):
        if each.part == part and each.of == f"{who} / ours" and each.ratio is not None:
            return f"{each.ratio.median:.2f}{MARKS[each.word]}"
    return ""


def _reasons(verdicts: Sequence[Verdict]) -> str:
    """What is no ratio, a line each."""
    lines = [
        f"- {each.target}: **{each.word}**, {each.found}" for each in verdicts if each.ratio is None and each.found
    ]
    return "\n".join(lines)


def _span(verdicts: Sequence[Verdict], part: str, of: str, begin: str = "") -> str:
    found = [v.ratio.median for v in verdicts if (v.part, v.of) == (part, of) and v.ratio and v.row.startswith(begin)]
    if not found:
        return "not measured"
    return f"{min(found):.2f}" if len(found) == 1 else f"{min(found):.2f} to {max(found):.2f}"


def _readme(about: str, verdicts: Sequence[Verdict], tally: str) -> str:
    steps = {
        what: [v.ratio.median for v in verdicts if v.ratio and what in v.target and v.of == "eager / ours"]
        for what in ("FFN training step f32", "byte-lm training step f32")
    }
    told = [f"{min(each):.2f} to {max(each):.2f}" if each else "not measured" for each in steps.values()]
    cached = {name: _span(verdicts, "elementwise", "eager / ours", name) for name in ("gelu", "swiglu")}
    return "\n".join(
        [
            f"On {about}, as times eager's speed, medians of `python benchmarks/kernels.py`:",
            "",
            f"- in cache, f32 and bf16, forward, backward and both: GELU {cached['gelu']}, SwiGLU {cached['swiglu']}",
            f"- SwiGLU blocks at inference, 1 to 2,048 tokens: {_span(verdicts, 'ffn', 'eager / ours')}",
            f"- training steps, f32, 2,048 tokens: of a block {told[0]}, of byte-lm {told[1]}",
            f"- {tally}; which and why: docs/kernels.md",
        ]
    )
