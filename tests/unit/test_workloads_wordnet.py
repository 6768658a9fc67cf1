"""Glosses to classes: the files, the split, the net, and the real dictionary where it is installed."""

import json
from pathlib import Path

import pytest
import torch

from gatewise import activations, measure, train
from gatewise.core import GatewiseError
from gatewise.surgery.builders import BUILDERS
from gatewise.workloads import _wordnet_data as wordnet_data
from gatewise.workloads import workload
from gatewise.workloads._wordnet import GlossNet, GlossNetConfig, WordNetWorkload, build, encode

WORDS = {5: "cat dog horse fur paw tail", 13: "bread soup cheese meal salt dish", 38: "run walk jump go fly swim"}


def write(folder: Path, *, count: int = 400, extra: str = "") -> Path:
    """A tiny WordNet: each class has words of its own, in the format of wndb(5WN)."""
    licence = "  1 This software and database is being provided to you, the LICENSEE, by  \n"
    for part, classes in {"noun": (5, 13), "verb": (38,), "adj": (), "adv": ()}.items():
        lines = [licence]
        for row in range(count if classes else 0):
            label = classes[row % len(classes)]
            own = WORDS[label].split()
            gloss = f'a {own[row % 6]} or {own[row // 6 % 6]} of kind {row}; "{own[row % 5]}!"'
            lines.append(f"{row:08d} {label:02d} n 01 name 0 000 | {gloss}  \n")
        (folder / f"data.{part}").write_text("".join(lines) + (extra if part == "noun" else ""), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("wordnet"))


@pytest.fixture
def small(folder: Path, monkeypatch: pytest.MonkeyPatch) -> WordNetWorkload:
    monkeypatch.setitem(BUILDERS.table, "gloss-net", "gatewise.workloads._wordnet:build")
    return WordNetWorkload(folder=str(folder), buckets=2048, dim=16, layers=2, batch=32, heldout_batch=16)


# -- data


def test_the_classes_are_the_45_lexicographer_files() -> None:
    assert len(wordnet_data.CLASSES) == len(set(wordnet_data.CLASSES)) == 45
    assert [wordnet_data.CLASSES.index(name) for name in ("noun.animal", "verb.motion", "adj.ppl")] == [5, 38, 44]


def test_glosses_are_read_and_no_words_stand_on_both_sides(folder: Path) -> None:
    found = wordnet_data.wordnet(str(folder))
    assert len(found.train.words) + len(found.heldout.words) == 800
    assert not set(found.train.words) & set(found.heldout.words)
    assert 0.05 < len(found.heldout.words) / 800 < 0.2
    assert {wordnet_data.PARTS[part] for part in found.train.parts} == {"noun", "verb"}
    assert all(
        ("noun", "noun", "verb")[sorted(WORDS).index(c)] == wordnet_data.PARTS[p]
        for c, p in zip(found.heldout.classes, found.heldout.parts, strict=True)
    )


def test_glosses_that_differ_in_signs_alone_stand_on_one_side(tmp_path: Path) -> None:
    extra = "".join(
        f"9999999{i} 0{i} n 01 name 0 000 | {text}\n" for i, text in enumerate(("The Same, gloss", "the same (gloss)"))
    )
    found = wordnet_data.wordnet(str(write(tmp_path, extra=extra)))
    assert found.repeated == 1
    counts = [side.words.count(("the", "same", "gloss")) for side in (found.train, found.heldout)]
    assert sorted(counts) == [0, 2]


def test_a_changed_file_changes_the_hash(tmp_path: Path, folder: Path) -> None:
    other = wordnet_data.wordnet(str(write(tmp_path, count=398)))
    assert other.sha256 != wordnet_data.wordnet(str(folder)).sha256


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("00000001 99 n 01 name 0 000 | a class that is none\n", "not a synset"),
        ("00000001 05 n 01 name 0 000 no gloss\n", "not a synset"),
        ("nonsense\n", "not a synset"),
    ],
)
def test_what_is_no_wordnet_is_refused_with_its_line(line: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(GatewiseError, match=rf"data\.noun, line 402: {words}"):
        wordnet_data.wordnet(str(write(tmp_path, extra=line)))


def test_too_few_glosses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GatewiseError, match="too few to train on"):
        wordnet_data.wordnet(str(write(tmp_path, count=20)))


def test_without_the_package_the_error_says_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordnet_data, "FOLDER", str(tmp_path / "none"))
    with pytest.raises(GatewiseError, match=r"apt install wordnet-base\n.*subject\.options\.folder=FOLDER"):
        wordnet_data.wordnet.__wrapped__()
    with pytest.raises(GatewiseError, match=r"cannot read .*data\.noun.*\nvalid: a folder"):
        workload(name="wordnet", options={"folder": str(tmp_path)}).facts()


# -- net


def test_ids_are_words_then_pairs_and_zero_is_nothing() -> None:
    ids = encode(("a", "cat", "sat"), 4, 1000)
    assert len(ids) == 8
    assert ids[6:] == [0, 0]
    assert all(0 < one < 1000 for one in ids[:6])
    assert encode(("a", "cat", "sat"), 2, 1000)[:2] == ids[:2]
    assert encode(("cat", "a"), 4, 1000)[3:4] != encode(("a", "cat"), 4, 1000)[3:4]


def test_padding_adds_nothing() -> None:
    net = GlossNet(GlossNetConfig(buckets=64, dim=8, layers=1)).eval()
    ids = torch.tensor([[3, 5, 9]])
    torch.testing.assert_close(net(ids), net(torch.tensor([[3, 5, 9, 0, 0]])))
    assert torch.isfinite(net(torch.zeros(1, 4, dtype=torch.int64))).all()


@pytest.mark.parametrize("arm", activations.names())
def test_every_arm_has_the_same_parameters_saves_and_loads(arm: str, small: WordNetWorkload, tmp_path: Path) -> None:
    model, _ = small.build(arm, matching="params", seed=1)
    assert measure.parameters(model) / measure.parameters(small.original()) == pytest.approx(1, abs=0.01)
    small.save(model, tmp_path)
    x = small.inputs(3, 1, 0)
    with torch.inference_mode():
        torch.testing.assert_close(small.run(small.load(tmp_path), x), small.run(model, x), rtol=1e-5, atol=1e-6)


def test_training_learns_the_same_twice_and_knows_its_slices(small: WordNetWorkload) -> None:
    plan = train.TrainPlan(steps=120, eval_every=120, learning_rate=small.learning_rate)
    runs = [
        train.TrainRun(workload=small, arm="swiglu", seed=0, plan=plan, diagnostics=("slice_gap", "dead_units")).train()
        for _ in range(2)
    ]
    assert runs[0].curve == runs[1].curve
    assert runs[0].final_loss is not None
    assert runs[0].final_loss < 0.3  # bits; the words tell the classes apart, and three classes alike would be 1.58
    assert {"slice_loss.noun", "slice_loss.verb"} <= runs[0].diagnostics.keys()


def test_baselines_and_facts_are_stated(small: WordNetWorkload) -> None:
    pytest.importorskip("sklearn")
    facts = json.loads(json.dumps(small.facts()))["data"]
    assert facts["classes"] == 3
    assert facts["heldout_scored"] == facts["heldout_glosses"]
    found = small.baselines()
    assert 0.3 < found["most frequent class"] < 0.7
    assert found["TF-IDF and a linear classifier"] == pytest.approx(1.0, abs=0.05)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(GatewiseError, match="did you mean 'layers'"):
        build({"layer": 2})
    with pytest.raises(GatewiseError, match="buckets must be a whole number from 2"):
        workload(name="wordnet", options={"buckets": 1})
    with pytest.raises(GatewiseError, match="heldout_glosses must be"):
        workload(name="wordnet", options={"heldout_glosses": 0})


# -- the real one


@pytest.mark.skipif(
    not Path(wordnet_data.FOLDER, "data.noun").is_file(), reason="Debian's wordnet-base is not installed"
)
def test_the_real_dictionary_has_what_it_is_said_to_have() -> None:
    found = WordNetWorkload().data_facts()
    assert found["train_glosses"] + found["heldout_glosses"] == 117_659
    assert found["classes"] == 45
    assert found["repeated_glosses"] == 631
