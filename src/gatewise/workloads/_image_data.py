"""Real images for `convnet` and `vit`: the handwritten digits that scikit-learn carries, scaled up.

Shapes: B batch, C channels, H height, W width.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gatewise.core import GatewiseError, MissingExtraError

Batch = tuple[Tensor, Tensor]
"""x_BCHW, float32 with values from -1 to 1, and y_B, int64: the images and their classes."""

CLASSES = 10
_SIDE, _WHITE = 8, 16
_TRAIN_SHARE = 0.8


@dataclass(frozen=True, kw_only=True)
class Digits:
    """The images, 8 x 8 as they are in the file, [B, 1, 8, 8], and their classes, [B], in the file's order."""

    images: Tensor
    classes: Tensor
    sha256: str

    @property
    def num_train(self) -> int:
        """The first 80 % are trained on. The order is that of collection, so most writers stand on one side."""
        return int(_TRAIN_SHARE * len(self.classes))


@lru_cache(maxsize=1)
def digits() -> Digits:
    """The digits from scikit-learn's own file, read without importing it.

    Raises `GatewiseError` where scikit-learn is missing or its file is not what it should be.
    """
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise MissingExtraError("scikit-learn", "tabular")
    return read_digits(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz")


def read_digits(path: Path) -> Digits:
    """The digits of a file: 64 grey values from 0 to 16 a row, then the class. Raises `GatewiseError` otherwise."""
    try:
        content = gzip.decompress(path.read_bytes())
        table = np.array([line.split(",") for line in content.decode("ascii").split()], dtype=np.float32)
    except (OSError, EOFError, ValueError) as error:
        raise GatewiseError(f"cannot read the digits in {path}: {error}") from error
    if table.ndim != 2 or table.shape[1] != _SIDE * _SIDE + 1 or len(table) < 2 * CLASSES:
        raise GatewiseError(f"{path} does not hold the digits: its table is {list(table.shape)}")
    x = torch.from_numpy(table[:, :-1].copy()).reshape(-1, 1, _SIDE, _SIDE) / (_WHITE / 2) - 1
    y = torch.from_numpy(table[:, -1].astype(np.int64))
    return Digits(images=x, classes=y, sha256=hashlib.sha256(content).hexdigest())


@lru_cache(maxsize=8)
def side_of(side: str, size: int) -> Batch:
    """All images of `train` or `heldout`, scaled to `size` x `size` (bilinear), and their classes."""
    found = digits()
    kept = slice(None, found.num_train) if side == "train" else slice(found.num_train, None)
    x_BCHW = interpolate(found.images[kept], size=(size, size), mode="bilinear", align_corners=False)
    return x_BCHW, found.classes[kept]


def facts() -> dict[str, Any]:
    """Where the images come from, with their hash and the split, as plain data."""
    found = digits()
    return {
        "source": "handwritten digits, 8 x 8 grey, of scikit-learn (from the UCI repository; BSD-3), scaled up",
        "sha256": found.sha256,
        "train_images": found.num_train,
        "heldout_images": len(found.classes) - found.num_train,
        "split": "the first 80 % and the last 20 % in the order of collection",
    }
