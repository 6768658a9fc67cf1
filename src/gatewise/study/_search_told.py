"""Where a search of learning rates stands: worked out where it runs, read where the terminal is.

A part is prepared in a worker process, which answers once, at its end. What it has to say before goes into a small file
of the part's folder, so that any executor that shares the folder can show it.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

TOLD = "told.txt"
LOOK_S = 0.5


class Step(Protocol):
    """What an arm's search says of where it stands; see `gatewise.train`."""

    @property
    def rung(self) -> int: ...
    @property
    def rungs(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def standing(self) -> int: ...
    @property
    def done(self) -> int: ...
    @property
    def budget(self) -> int: ...


@dataclass(kw_only=True)
class SearchTold:
    """The searches of a part's arms in one line each: arm, rung, rate, and how much longer they take.

    Attributes:
        tell: told the line; None tells nobody.
        step_s: seconds of an optimiser step, by arm, as measured before. They are corrected by what the search takes.
    """

    tell: Callable[[str], None] | None
    step_s: Sequence[float]
    _began: float = field(default_factory=time.monotonic)

    def __call__(self, number: int, label: str, step: Step) -> None:
        """One arm's search, by its number from 0, is about to train a rate to a rung."""
        if self.tell is None:
            return
        arms = len(self.step_s)
        left = self.seconds_left(number, step, time.monotonic() - self._began)
        self.tell(
            f"rate of {label} ({number + 1}/{arms}): rung {step.rung}/{step.rungs}, "
            f"rate {step.number}/{step.standing}, {spoken(left)}"
        )

    def seconds_left(self, number: int, step: Step, spent_s: float) -> float:
        """The seconds that all searches still take, at the price of a step as it turned out so far.

        An arm's search takes `step.budget` steps at most; those before this one are over. Until a tenth of a second has
        been priced the prices are those measured before.
        """
        priced = [step.budget * price for price in self.step_s]
        done_s = sum(priced[:number]) + step.done * self.step_s[number]
        slower = max(spent_s / done_s, 0.2) if done_s > 0.1 else 1.0
        return slower * (sum(priced) - done_s)


def spoken(seconds: float) -> str:
    """A time that is left, for people."""
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {max(seconds, 1):.0f} s"


def write_told(folder: Path, text: str) -> None:
    """Leave a line for `telling`; what cannot be written is not worth an error."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f"{TOLD}.unfinished"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(folder / TOLD)


@contextlib.contextmanager
def telling(folder: Path, tell: Callable[[str], None]) -> Generator[None]:
    """While the body runs, tell each new line that `write_told` leaves in `folder`; older ones are removed first."""
    path, stop = folder / TOLD, threading.Event()
    path.unlink(missing_ok=True)

    def look() -> None:
        last = ""
        while not stop.wait(LOOK_S):
            with contextlib.suppress(OSError):
                text = path.read_text(encoding="utf-8")
                if text != last:
                    tell(text)
                last = text

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
