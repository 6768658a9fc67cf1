"""A user's own texts and labels: what is read, what is refused, and that the probe is no better than it should be."""

import json
import random
from pathlib import Path

import pytest
import torch

from gatewise.core import GatewiseError
from gatewise.workloads._labels import chance, probe_scores, read_labelled


def write_csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("body,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows), encoding="utf-8")
    return path


ROWS = [(f"text number {i}", "yes" if i % 2 else "no") for i in range(60)]


def test_csv_and_jsonl_read_alike_whatever_the_order(tmp_path: Path) -> None:
    one = read_labelled(write_csv(tmp_path / "a.csv", ROWS), "body", "label")
    lines = tmp_path / "a.jsonl"
    shuffled = random.Random(0).sample(ROWS, len(ROWS))
    lines.write_text("\n".join(json.dumps({"body": t, "label": label}) for t, label in shuffled), encoding="utf-8")
    other = read_labelled(lines, "body", "label")
    assert one.texts == other.texts
    assert one.labels == other.labels


def test_a_text_that_stands_twice_cannot_leak_from_half_to_half(tmp_path: Path) -> None:
    found = read_labelled(write_csv(tmp_path / "a.csv", ROWS + ROWS[:10]), "body", "label")
    assert len(found.texts) == 60
    assert found.duplicates == 10


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        ("body,label\n", "a.csv", "no rows"),
        ("body,lable\nx,y\n", "a.csv", "did you mean 'lable'"),
        ("body,label\n,y\n", "a.csv", "row 1"),
        ("body,label\nx,y\n", "a.csv", "at least 40"),
        ('{"body": 1', "a.jsonl", "line 1"),
        ("[1]", "a.jsonl", "must be an object"),
        ("x", "a.parquet", ".csv or .jsonl"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, content: str, name: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(GatewiseError, match=words):
        read_labelled(path, "body", "label")


def test_one_label_is_no_task(tmp_path: Path) -> None:
    with pytest.raises(GatewiseError, match="same 'label'"):
        read_labelled(write_csv(tmp_path / "a.csv", [(t, "yes") for t, _ in ROWS]), "body", "label")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(GatewiseError, match="cannot read the data"):
        read_labelled(tmp_path / "none.csv", "body", "label")


def test_the_probe_learns_what_is_there_and_only_that(tmp_path: Path) -> None:
    rows = [(f"text number {i}", "yes" if i % 3 == 0 else "no") for i in range(600)]
    data = read_labelled(write_csv(tmp_path / "a.csv", rows), "body", "label")
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(600, 8, generator=generator)
    signal = noise.clone()
    signal[:, 0] += torch.tensor([3.0 if label == "yes" else -3.0 for label in data.labels])
    told = sum(probe_scores(signal, data)) / 300
    guessed = sum(probe_scores(noise, data)) / 300
    assert told > 0.97
    assert abs(guessed - chance(data.labels)) < 0.1
