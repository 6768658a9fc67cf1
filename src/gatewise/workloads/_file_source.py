"""A user's own text for `byte-lm`: one file, its last tenth held out.

The cut is at the end of a line. Long lines that stand on both sides are counted and stated, for what was copied can be
remembered.
"""

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

LARGEST_BYTES = 256 * 2**20
LEAST_BYTES = 20_000
HELDOUT_SHARE = 0.1
LONG_LINE = 40
"""Bytes of a line from which on it counts as one that could have been copied."""

SLICES = ("letters", "digits", "signs", "space")
_KINDS: tuple[Callable[[int], bool], ...] = (
    lambda byte: chr(byte).isalpha() or byte > 127,
    lambda byte: chr(byte).isdigit(),
    lambda byte: not chr(byte).isspace(),
)
_CLASS_OF_BYTE = bytes(next((i for i, kind in enumerate(_KINDS) if kind(byte)), 3) for byte in range(256))


class FileText:
    """The sides of one file. Raises `GatewiseError` for one that is missing, too small, too large, or no text."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    @cached_property
    def _sides(self) -> tuple[bytes, bytes]:
        try:
            size = self.path.stat().st_size
            if not self.path.is_file():
                raise GatewiseError(f"{self.path} is no file: byte-lm reads one text file")
            if not LEAST_BYTES <= size <= LARGEST_BYTES:
                raise GatewiseError(
                    f"{self.path} has {size:,} bytes\nvalid: from {LEAST_BYTES:,} to {LARGEST_BYTES:,} bytes of text"
                )
            content = self.path.read_bytes()
        except OSError as error:
            raise GatewiseError(f"cannot read the text {self.path}: {error.strerror}") from error
        try:
            content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise GatewiseError(f"{self.path} is not UTF-8 text (byte {error.start:,})") from error
        wanted = round((1 - HELDOUT_SHARE) * len(content))
        cut = content.find(b"\n", wanted) + 1
        cut = cut if 0 < cut < len(content) - LEAST_BYTES * HELDOUT_SHARE / 2 else wanted  # one endless line
        return content[:cut], content[cut:]

    def text(self, side: str) -> bytes:
        """The text of `train` or `heldout`. Raises `GatewiseError` for `shifted`, which one file has not."""
        if side == "shifted":
            raise GatewiseError(f"{self.path} has no text of another kind: leave out shifted_loss")
        return self._sides[side == "heldout"]

    def slices(self) -> tuple[tuple[str, ...], bytes]:
        """The names of the slices, and for each held-out byte which one it is in."""
        return SLICES, self.text("heldout").translate(_CLASS_OF_BYTE)

    def facts(self) -> dict[str, Any]:
        """The file's name without its folder, sizes, hashes, and the share of long held-out lines also trained on."""
        train, heldout = self._sides
        seen = set(train.split(b"\n"))
        long = [line for line in heldout.split(b"\n") if len(line.strip()) >= LONG_LINE]
        digests = {"train": hashlib.sha256(train).hexdigest(), "heldout": hashlib.sha256(heldout).hexdigest()}
        found: dict[str, Any] = {
            "source": f"the user's own text {self.path.name}",
            "sha256": hashlib.sha256(f"{digests['train']} {digests['heldout']}".encode()).hexdigest(),
            "split": "the last tenth, cut at the end of a line",
            "heldout_lines_trained_on": sum(line in seen for line in long) / len(long) if long else None,
            "shifted_bytes": None,
            "shifted_sha256": None,
        }
        for side, text in (("train", train), ("heldout", heldout)):
            found |= {f"{side}_bytes": len(text), f"{side}_sha256": digests[side]}
        return found
