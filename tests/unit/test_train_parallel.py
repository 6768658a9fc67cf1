"""Training over two processes that torchrun starts is training in one, within rounding."""

import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from train_ranks import CLI, PAUSE, PLAN, run_of, seen

from gatewise.core import GatewiseError
from gatewise.train import Checkpoints
from gatewise.train._checkpoint import ways
from gatewise.train._parallel import Alone
from gatewise.train._parallel_ranks import joined, launched

RANKS = Path(__file__).with_name("train_ranks.py")
KINDS = ("ddp", "fsdp")
TOLERANCE = 4e-6
"""Of a loss, relative. Two ranks add gradients in another order: a last bit of float32 is 6e-8, and 12 steps with a
rate of 0.01 carry it to about 1e-7. What is wrong moves the loss by 2e-4 or more: see `WRONG`."""

WRONG = 50 * TOLERANCE


@pytest.fixture(scope="module")
def one() -> dict[str, Any]:
    return plain(seen(run_of(Alone())))


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that two ranks have worked in. One starts them once for all tests: a start costs seconds."""
    out = tmp_path_factory.mktemp("ranks")
    for kind in KINDS:
        run_of(Alone(), out / f"one-{kind}").train(until=PAUSE)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    with (out / "log").open("w") as log:
        process = subprocess.Popen([*torchrun, str(RANKS), str(out)], stdout=log, stderr=log)
        try:
            code = process.wait(timeout=300)
        finally:
            process.terminate()  # torchrun then ends its ranks, which it would leave behind if it were killed
            process.wait()
    assert (out / "0.json").exists(), (out / "log").read_text()[-4000:]
    assert code == 1, "the second rank was killed"
    return out


@pytest.fixture(scope="module")
def found(ended: Path) -> list[dict[str, Any]]:
    """What each rank saw."""
    return [json.loads((ended / f"{rank}.json").read_text()) for rank in range(2)]


def plain(content: Any) -> Any:
    return json.loads(json.dumps(content))


def apart(one: dict[str, Any], two: dict[str, Any]) -> float:
    """The largest relative difference of two curves."""
    assert [step for step, _ in one["curve"]] == [step for step, _ in two["curve"]] != []
    return max(abs(b / a - 1) for (_, a), (_, b) in zip(one["curve"], two["curve"], strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_one_process(kind: str, one: dict[str, Any], found: list[dict[str, Any]]) -> None:
    whole = found[0][kind]["whole"]
    assert apart(one, whole) < TOLERANCE
    assert whole["order"] == one["order"]
    assert found[1][kind]["whole"]["curve"] == whole["curve"]


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [*product(KINDS, ("first rows", "summed")), ("fsdp", "clipped by parts")],  # ddp has the whole gradient anyway
)
def test_what_is_wrong_would_show(kind: str, wrong: str, one: dict[str, Any], found: list[dict[str, Any]]) -> None:
    assert apart(one, found[0][kind][wrong]) > WRONG


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_run_has_the_bits_of_one_that_was_not(kind: str, found: list[dict[str, Any]]) -> None:
    whole, resumed = found[0][kind]["whole"], found[0][kind]["resumed"]
    assert resumed == whole
    assert len(resumed["bits"]) > 10
    assert found[1][kind]["resumed"]["bits"] == {}, "the model is given to the first rank alone"


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoints_go_from_one_process_to_ranks_and_back(
    kind: str, one: dict[str, Any], found: list[dict[str, Any]], ended: Path
) -> None:
    to_ranks = found[0][kind]["after one"]
    assert (to_ranks["steps"], to_ranks["order"]) == (PLAN.steps, one["order"])
    assert apart(one, to_ranks) < TOLERANCE
    back = seen(run_of(Alone(), ended / f"{kind}-one"))
    assert (back["steps"], back["order"]) == (PLAN.steps, one["order"])
    assert apart(one, plain(back)) < TOLERANCE
    assert ways(ended / f"{kind}-one") == (f"{kind} over 2 processes", "one process")
    assert ways(ended / f"one-{kind}") == ("one process", f"{kind} over 2 processes")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("batch", "a batch of 7 cannot be shared equally by 2 processes"),
        ("arm", "swigluu"),
        ("diagnostics", "gradient_spread"),
        ("norm", "normalises over a batch"),
        ("data", "rank 1 would train something else than rank 0: workload is"),
        ("one", "rank 1: unknown"),
    ],
)
def test_what_cannot_be_shared_is_refused_by_all(kind: str, name: str, said: str, found: list[dict[str, Any]]) -> None:
    texts = [each[kind]["refused"][name] for each in found]
    assert texts[0] == texts[1]
    assert said in texts[0]
    assert len(texts[0].splitlines()) <= 2


def test_a_rank_that_dies_ends_the_other_with_a_reason(ended: Path) -> None:
    said = json.loads((ended / "dead-0.json").read_text())["said"]
    assert said.startswith("rank 0 of 2 cannot go on: another rank has ended")
    assert len(said.splitlines()) == 2
    assert not (ended / "dead-1.json").exists()


def test_the_command_line_writes_once_and_says_errors_once(
    one: dict[str, Any], found: list[dict[str, Any]], ended: Path
) -> None:
    first, second = found
    assert (first["cli"]["code"], second["cli"]["code"]) == (0, 0)
    document = json.loads((ended / "cli" / "train.json").read_text())
    assert apart(one, document["result"]) < TOLERANCE
    assert document["processes"] == {"words": "fsdp over 2 processes", "ranks": 2, "device": "cpu"}
    assert document["ways"] == ["fsdp over 2 processes"]
    assert "fsdp over 2 processes" in first["cli"]["out"]
    assert second["cli"]["out"] == second["cli"]["error"] == ""
    for name, said in {"cli again": "holds a run already", "cli arm": "unknown activation 'gleu'"}.items():
        assert (first[name]["code"], second[name]["code"]) == (2, 2)
        assert said in first[name]["error"]
        assert second[name]["error"] == ""


def test_parallel_without_torchrun_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    assert launched() is None
    with pytest.raises(GatewiseError, match="torchrun --standalone --nproc-per-node 2"), joined("ddp"):
        pass
    with pytest.raises(GatewiseError, match="did you mean 'fsdp'"), joined("fsdpp"):
        pass


def test_the_command_line_is_the_run_of_the_tests() -> None:
    # `CLI` writes `run_of` out in words, which the comparison of their curves depends on.
    for name in ("batch", "context", "dim", "heldout_windows", "heldout_batch", "data"):
        assert f"{name}={getattr(run_of(Alone()).workload, name)} " in f"{CLI} "
    assert Checkpoints(folder=Path("x"), every_steps=3).due(3, 0.0)
