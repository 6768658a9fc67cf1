"""Where a search of learning rates stands: one line, its time left, and its way from a worker to the terminal."""

import io
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from gatewise.cli._progress import WIDTH, Progress, shortened
from gatewise.study._search_told import TOLD, SearchTold, spoken, telling, write_told


@dataclass(frozen=True, kw_only=True)
class Step:
    done: int
    budget: int = 1000
    rung: int = 2
    rungs: int = 3
    number: int = 1
    standing: int = 4


def told(**more: object) -> SearchTold:
    return SearchTold(tell=None, step_s=[0.01, 0.03])


def test_the_line_says_arm_rung_rate_and_time() -> None:
    heard: list[str] = []
    SearchTold(tell=heard.append, step_s=[0.01, 0.03])(1, "swiglu", Step(done=0))
    assert heard[0].startswith("rate of swiglu (2/2): rung 2/3, rate 1/4, about ")


def test_the_time_left_is_that_of_all_arms_at_the_price_seen_so_far() -> None:
    assert told().seconds_left(0, Step(done=0), 0.0) == pytest.approx(40.0)
    assert told().seconds_left(0, Step(done=500), 5.0) == pytest.approx(35.0)
    assert told().seconds_left(0, Step(done=500), 10.0) == pytest.approx(70.0)  # twice as slow as priced
    assert told().seconds_left(1, Step(done=0), 10.0) == pytest.approx(30.0)
    assert told().seconds_left(1, Step(done=1000), 40.0) == pytest.approx(0.0)


def test_a_search_that_goes_on_from_checkpoints_does_not_promise_no_time_at_all() -> None:
    assert told().seconds_left(0, Step(done=900), 0.001) == pytest.approx(0.2 * 31.0)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0, "about 1 s"), (41.2, "about 41 s"), (89.9, "about 90 s"), (240.0, "about 4 min")]
)
def test_times_are_spoken(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


def test_lines_of_a_worker_are_told_as_they_come(tmp_path: Path) -> None:
    write_told(tmp_path, "of an earlier study")
    heard: list[str] = []
    arrived = {name: threading.Event() for name in ("first", "second")}

    def tell(text: str) -> None:
        heard.append(text)
        arrived[text].set()

    with telling(tmp_path, tell):
        for name, event in arrived.items():
            write_told(tmp_path, name)
            assert event.wait(60)
    assert heard == ["first", "second"]
    write_told(tmp_path, "after the end")
    assert (tmp_path / TOLD).read_text() == "after the end"
    assert heard == ["first", "second"]


def test_what_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    write_told(tmp_path / "file" / "folder", "nobody hears this")
    assert (tmp_path / "file").read_text() == ""


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_long_line_keeps_how_far_it_is_and_the_time_that_is_left() -> None:
    stream = _Terminal()
    Progress(stream).show(f"a part: rate of {'swiglu ' * 12}(2/4): rung 1/3, rate 3/5, about 40 s", 300.0)
    shown = stream.getvalue().strip("\r")
    assert len(shown) == WIDTH
    assert shown.startswith("a part: rate of")
    assert shown.endswith("rung 1/3, rate 3/5, about 40 s · at most 5 min left")
    assert shortened("short", 5) == "short"
    assert len(shortened("longer than that", 9)) == 9
