"""The texts of the byte language model: the synthetic source, text of another kind, and slices."""

import hashlib
import io
import json
import math
import re
import tokenize
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gatewise.core import GatewiseError
from gatewise.train import TrainPlan, train_arm
from gatewise.workloads import _stdlib_source as stdlib_source
from gatewise.workloads import _synthetic_source as synthetic
from gatewise.workloads import workload
from gatewise.workloads._byte_data import SOURCES
from gatewise.workloads._byte_lm import ByteLMWorkload

SMALL = ByteLMWorkload(dim=16, layers=1, heads=2, context=32, batch=2, heldout_windows=8, heldout_batch=4)
SIDES = ("train", "heldout", "shifted")
SYNTHETIC_SHA256 = "fcd63e48ff716e33e03527fe87e55383e086dba66a83238df6d06ae9ee7b8cb8"


# -- the synthetic source


def _nested(line: str) -> int:
    """The depth of correctly nested brackets; fails where they are not."""
    stack: list[str] = []
    deepest = 0
    for char in line:
        if char in "([{<":
            stack.append(")]}>"["([{<".index(char)])
        else:
            assert stack.pop() == char
        deepest = max(deepest, len(stack))
    assert not stack
    return deepest


def _summands(line: str) -> list[tuple[int, int]]:
    found = [(int(a), int(b), int(c)) for a, b, c in re.findall(r"(\d+)\+(\d+)=(\d+)", line)]
    assert len(found) == 4
    assert all(a + b == c for a, b, c in found)
    return [(min(a, b), max(a, b)) for a, b, _ in found]


@pytest.mark.parametrize("side", SIDES)
def test_every_synthetic_line_keeps_its_rule(side: str) -> None:
    table = dict(synthetic.lexicon())
    lines = synthetic.lines(side)[:20_000]
    for kind, line in lines:
        if kind == "nest":
            assert 0 < _nested(line) <= (12 if side == "shifted" else 6)
        elif kind == "copy":
            one, other = line.split("|")
            assert one == other
        elif kind == "sums":
            _summands(line)
        else:
            pairs = [pair.split(":") for pair in line.split(" ")]
            assert all(table[word] == partner for word, partner in pairs)
    counts = Counter(kind for kind, _ in lines)
    assert set(counts) == set(synthetic.KINDS)
    assert min(counts.values()) > 0.23 * len(lines) or len(lines) < 20_000


def test_held_out_sums_are_never_trained_on_and_shifted_ones_are_larger() -> None:
    pairs = {
        side: {pair for kind, line in synthetic.lines(side) if kind == "sums" for pair in _summands(line)}
        for side in SIDES
    }
    assert len(pairs["train"]) > 4000
    assert len(pairs["heldout"]) > 400
    assert not pairs["train"] & pairs["heldout"]
    assert not pairs["train"] & pairs["shifted"]
    # The split follows no pattern that addition knows: every last digit of a sum is on both sides.
    assert {(a + b) % 10 for a, b in pairs["heldout"]} == {(a + b) % 10 for a, b in pairs["train"]} == set(range(10))
    assert {(b - a) % 10 for a, b in pairs["train"]} == set(range(10))


def test_the_synthetic_text_is_the_same_everywhere() -> None:
    facts = SOURCES["synthetic"].facts()
    assert facts["sha256"] == SYNTHETIC_SHA256
    for side in SIDES:
        text = SOURCES["synthetic"].text(side)
        assert len(text) == synthetic.SIZES[side] == facts[f"{side}_bytes"]
        assert hashlib.sha256(text).hexdigest() == facts[f"{side}_sha256"]
        assert text.isascii()


def test_words_are_distinct_and_frequent_ones_dominate_unless_shifted() -> None:
    words = [word for pair in synthetic.lexicon() for word in pair]
    assert len(set(words)) == len(words) == 1024

    def share(side: str) -> float:
        first = {word for word, _ in synthetic.lexicon()[:32]}
        seen = [pair[:4] for kind, line in synthetic.lines(side) if kind == "words" for pair in line.split(" ")]
        return sum(word in first for word in seen) / len(seen)

    assert share("heldout") > 0.5
    assert share("shifted") < 0.1


def test_a_model_learns_more_than_byte_frequencies_from_the_synthetic_text() -> None:
    text = SOURCES["synthetic"].text("heldout")
    frequencies = torch.bincount(torch.tensor(list(text)), minlength=256).double() / len(text)
    entropy = -sum(p * math.log2(p) for p in frequencies.tolist() if p > 0)
    made = replace(SMALL, data="synthetic", batch=8)
    result = train_arm(made, "gelu", seed=0, plan=TrainPlan(steps=160, eval_every=80))
    assert result.final_loss is not None
    assert result.final_loss < entropy - 0.5


# -- as options


def test_the_data_is_an_option() -> None:
    made = workload(name="byte-lm", options={"data": "synthetic"})
    assert isinstance(made, ByteLMWorkload)
    facts = made.facts()["data"]
    assert facts["source"].startswith("synthetic")
    assert facts["heldout_scored"] == 512 * 128
    with pytest.raises(GatewiseError, match="did you mean 'synthetic'"):
        workload(name="byte-lm", options={"data": "syntetic"})


@pytest.mark.parametrize("data", SOURCES)
def test_facts_of_every_source_are_plain_and_hash_every_side(data: str) -> None:
    facts = replace(SMALL, data=data).data_facts()
    assert json.loads(json.dumps(facts)) == facts
    assert len({facts["sha256"], *(facts[f"{side}_sha256"] for side in SIDES)}) == 4
    assert facts["train_bytes"] > 5_000_000


@pytest.mark.parametrize("data", SOURCES)
def test_batches_come_from_their_own_side(data: str) -> None:
    made, source = replace(SMALL, data=data), SOURCES[data]
    sides = {
        "train": [made.train_batch(3, 1)],
        "heldout": made.heldout_batches(),
        "shifted": made.shifted_batches(),
    }
    for side, batches in sides.items():
        text = source.text(side)
        for x, y in batches:
            assert torch.equal(x[:, 1:], y[:, :-1])
            assert all(bytes(row.tolist()) in text for row in x)


# -- text of another kind


def test_the_shifted_text_is_prose_that_is_on_no_side() -> None:
    shifted = stdlib_source.shifted()
    assert stdlib_source.SHIFTED_FILE not in (*stdlib_source.TRAIN_FILES, *stdlib_source.HELDOUT_FILES)
    assert len(shifted.text) > 400_000
    assert b"\\n" not in shifted.text[:2000]  # the text itself, not the source of its string
    source = stdlib_source.read()
    trained = set(source.train.text.split(b"\n"))
    lines = [line for line in shifted.text.split(b"\n") if len(line.strip()) >= 40]
    assert len(lines) > 1000
    assert sum(line in trained for line in lines) / len(lines) < 0.01


def test_a_python_without_the_prose_still_has_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GatewiseError, match="this Python lacks"):
        stdlib_source.shifted(tmp_path)

    def lacking() -> None:
        raise GatewiseError("not there")

    monkeypatch.setattr(stdlib_source, "shifted", lacking)
    assert SOURCES["stdlib"].facts()["shifted_sha256"] is None


# -- slices


def test_slices_follow_their_rule() -> None:
    text = b'x = \'a # b\' + f(1)  # say "hi"\n\n"""Doc\'s \\" string."""\ny = "it\'s" # \'q\n'
    marks = stdlib_source.slices_of(text)
    told = "".join("pnsw"[mark] for mark in marks)
    assert told == ("nwswpppppppwswnsssww" + "p" * 10 + "ww" + "p" * 22 + "w" + "nwsw" + "p" * 6 + "w" + "p" * 4 + "w")


def test_prose_is_what_pythons_own_tokenizer_calls_comments_and_strings() -> None:
    library = Path(stdlib_source.__file__)  # our own file, and two held-out ones
    texts = [library.read_bytes(), *stdlib_source.read().heldout.text.split(b"\0")[:2]]
    strings = {tokenize.COMMENT, tokenize.STRING}
    strings |= {getattr(tokenize, name) for name in tokenize.tok_name.values() if name.startswith("FSTRING")}
    different = total = 0
    for text in texts:
        starts = [0, *(found.end() for found in re.finditer(rb"\n", text))]
        lines = text.decode().split("\n")
        expected = bytearray(len(text))
        for token in tokenize.tokenize(io.BytesIO(text).readline):
            if token.type in strings:
                begin, end = (
                    starts[row - 1] + len(lines[row - 1][:column].encode()) for row, column in (token.start, token.end)
                )
                expected[begin:end] = b"\1" * (end - begin)
        marks = stdlib_source.slices_of(text)
        different += sum((mark == 0) != flag for mark, flag in zip(marks, expected, strict=True))
        total += len(text)
    # Prefixes such as r and f stand outside our strings, and an f-string's fields inside them.
    assert different / total < 0.005


@pytest.mark.parametrize("data", SOURCES)
def test_every_slice_is_well_populated(data: str) -> None:
    made = ByteLMWorkload(data=data)
    names, marks = made.heldout_slices()
    assert 3 <= len(names) == len(set(names)) <= 5
    batches = made.heldout_batches()
    assert all(mark.shape == y.shape for mark, (_, y) in zip(marks, batches, strict=True))
    shares = torch.bincount(torch.cat([mark.flatten() for mark in marks]), minlength=len(names)) / (512 * 128)
    assert shares.min() > 0.05
    assert shares.sum() == pytest.approx(1.0)


def test_marks_stand_under_their_bytes() -> None:
    names, marks = SMALL.heldout_slices()
    space = names.index("space")
    y = torch.cat([y for _, y in SMALL.heldout_batches()])
    mark = torch.cat(list(marks))
    assert set(y[mark == space].tolist()) <= set(b" \t\n\r\f\0")
    assert not set(y[mark == names.index("names")].tolist()) & set(b" \n()0123456789")


def test_token_losses_average_to_the_loss() -> None:
    model = SMALL.fresh("gelu", seed=0)
    batch = SMALL.train_batch(0, 0)
    with torch.no_grad():
        losses = SMALL.token_losses(model, batch)
        assert losses.shape == (2, 32)
        assert losses.mean().item() == pytest.approx(SMALL.loss(model, batch).item(), rel=1e-6)
