"""Calibration inputs of `gatewise swap`: a text file or an .npz file, split into what is fitted on and what is not."""

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError

if TYPE_CHECKING:
    from gatewise.workloads import Workload

BATCH = 32
MAX_TOKENS = 128
HELD_OUT = 4
"""Every fourth text, or item, is held out; repeats are left out before, so that none stands on both sides."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Batches to fit on, batches that the fit never sees, and how many repeats of an input were left out."""

    fitted: list[Any]
    held_out: list[Any]
    repeats: int = 0


def read_inputs(path: Path, found: "Workload") -> Inputs:
    """The inputs of a file. Raises `GatewiseError` for a file that is missing, unreadable, or too small to be split."""
    if path.suffix == ".npz":
        batches = _arrays(path, found)
    elif path.suffix == ".txt":
        batches = _texts(path, found)
    else:
        raise GatewiseError(f"{path}: calibration inputs are a .txt file, one text a line, or an .npz file")
    return batches


def _arrays(path: Path, found: "Workload") -> Inputs:
    import torch

    from gatewise.runtimes import read_calibration

    def pick(batch: Any, chosen: "torch.Tensor") -> Any:
        if isinstance(batch, dict):
            return {name: tensor[chosen] for name, tensor in batch.items()}
        return tuple(tensor[chosen] for tensor in batch) if isinstance(batch, tuple) else batch[chosen]

    def items(batch: Any) -> list[bytes]:
        parts = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, tuple) else (batch,)
        return [
            hashlib.sha256(b"".join(part.numpy().tobytes() for part in item)).digest()
            for item in zip(*parts, strict=True)
        ]

    batches = read_calibration(path, found.inputs(1, 8, 0))
    keys = [items(batch) for batch in batches]
    places = _split(path, [key for batch in keys for key in batch], "items")
    fitted: list[Any] = []
    held_out: list[Any] = []
    start = 0
    for batch, own in zip(batches, keys, strict=True):
        for target, chosen in zip((fitted, held_out), places, strict=True):
            here = [place - start for place in chosen if start <= place < start + len(own)]
            if here:
                target.append(pick(batch, torch.tensor(here)))
        start += len(own)
    return Inputs(fitted=fitted, held_out=held_out, repeats=start - sum(map(len, places)))


def _split(path: Path, items: Sequence[Hashable], what: str) -> tuple[list[int], list[int]]:
    """The places that are fitted on, and those that are held out; of the same item the first place alone."""
    first = sorted({item: place for place, item in reversed(list(enumerate(items)))}.values())
    if len(first) < HELD_OUT:
        without = f" ({len(first)} without repeats)" if len(first) < len(items) else ""
        raise GatewiseError(
            f"{path} has {len(items)} {what}{without}; every {HELD_OUT}th is held out, so give more of them"
        )
    last = HELD_OUT - 1
    return [place for order, place in enumerate(first) if order % HELD_OUT != last], first[last::HELD_OUT]


def _texts(path: Path, found: "Workload") -> Inputs:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise GatewiseError(f"cannot read {path}: {error}") from error
    texts = [line.strip() for line in lines if line.strip()]
    _split(path, texts, "texts")  # refuses too few before a tokenizer is looked for
    folder: Path | None = getattr(found, "folder", None)
    if folder is None or not (folder / "tokenizer.json").is_file():
        raise GatewiseError(f"{found.name} has no tokenizer.json, so texts are no inputs for it; give an .npz file")
    encoded = _encoded(folder, texts)
    fitted, held_out = _split(path, [tuple(ids) for ids in encoded], "texts")
    return Inputs(
        fitted=_padded([encoded[place] for place in fitted]),
        held_out=_padded([encoded[place] for place in held_out]),
        repeats=len(encoded) - len(fitted) - len(held_out),
    )


def _encoded(folder: Path, texts: Sequence[str]) -> list[list[int]]:
    from gatewise.core import MissingExtraError

    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError("tokenizers", "hf") from error
    tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [list(encoding.ids[:MAX_TOKENS]) for encoding in tokenizer.encode_batch(list(texts))]


def _padded(rows: list[list[int]]) -> list[dict[str, Any]]:
    """Batches of texts of like length; the mask says what is padding, so the padding's id does not matter."""
    import torch

    rows = sorted(rows, key=len)
    batches: list[dict[str, Any]] = []
    for start in range(0, len(rows), BATCH):
        group = rows[start : start + BATCH]
        ids = torch.zeros((len(group), max(map(len, group))), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(group):
            ids[place, : len(row)] = torch.tensor(row)
            mask[place, : len(row)] = 1
        batches.append({"input_ids": ids, "attention_mask": mask})
    return batches
