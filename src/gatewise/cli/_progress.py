"""Progress on standard error: one line that rewrites itself on a terminal, nothing elsewhere."""

from typing import TextIO

WIDTH = 79


class Progress:
    """Shows what is being done and what is left of the budget; quiet where the stream is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shows = stream.isatty()
        self._dirty = False

    def show(self, text: str, left_s: float | None = None) -> None:
        """Replace the line; without `left_s` it says nothing of time."""
        if not self._shows:
            return
        after = ""
        if left_s is not None:
            left = f"{left_s / 60:.0f} min" if left_s >= 90 else f"{left_s:.0f} s"
            after = f" · at most {left} left"
        line = f"{shortened(text, WIDTH - len(after))}{after}"
        self._stream.write(f"\r{line[:WIDTH]:<{WIDTH}}")
        self._stream.flush()
        self._dirty = True

    def close(self) -> None:
        """Clear the line."""
        if self._dirty:
            self._stream.write(f"\r{'':<{WIDTH}}\r")
            self._stream.flush()
            self._dirty = False


def shortened(text: str, width: int) -> str:
    """The text cut in its middle: its beginning says what is done, and its end how far it is."""
    if len(text) <= width:
        return text
    end = (width - 1) * 2 // 3
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"
