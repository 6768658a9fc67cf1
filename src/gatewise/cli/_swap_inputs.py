"""Calibration inputs of `gatewise swap`: a text file or an .npz file, split into what is fitted on and what is not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError

if TYPE_CHECKING:
    from gatewise.workloads import Workload

BATCH = 32
MAX_TOKENS = 128
HELD_OUT = 4
"""Every fourth text, or item, is held out."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Batches to fit on, and batches that the fit never sees."""

    fitted: list[Any]
    held_out: list[Any]


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

    def length(batch: Any) -> int:
        parts = batch.values() if isinstance(batch, dict) else batch if isinstance(batch, tuple) else (batch,)
        return len(next(iter(parts)))

    fitted: list[Any] = []
    held_out: list[Any] = []
    for batch in read_calibration(path, found.inputs(1, 8, 0)):
        places = torch.arange(length(batch))
        last = places % HELD_OUT == HELD_OUT - 1
        for target, chosen in ((fitted, places[~last]), (held_out, places[last])):
            if len(chosen):
                target.append(pick(batch, chosen))
    return Inputs(fitted=fitted, held_out=held_out)


def _texts(path: Path, found: "Workload") -> Inputs:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise GatewiseError(f"cannot read {path}: {error}") from error
    texts = [line.strip() for line in lines if line.strip()]
    if len(texts) < HELD_OUT:
        raise GatewiseError(f"{path} has {len(texts)} texts; every {HELD_OUT}th is held out, so give more of them")
    folder: Path | None = getattr(found, "folder", None)
    if folder is None or not (folder / "tokenizer.json").is_file():
        raise GatewiseError(f"{found.name} has no tokenizer.json, so texts are no inputs for it; give an .npz file")
    encoded = _encoded(folder, texts)
    held_out = [ids for place, ids in enumerate(encoded) if place % HELD_OUT == HELD_OUT - 1]
    fitted = [ids for place, ids in enumerate(encoded) if place % HELD_OUT != HELD_OUT - 1]
    return Inputs(fitted=_padded(fitted), held_out=_padded(held_out))


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
