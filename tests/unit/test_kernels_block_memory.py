"""Where a training step of a feed-forward block takes a way that keeps less in memory than the one that is quickest."""

import pytest
import torch
from torch import Tensor

from gatewise import activations
from gatewise.kernels import _block_route, _choice
from gatewise.kernels._choice_file import Choice
from gatewise.kernels._feedforward import FeedForward


def answered(chosen: str, dear: tuple[str, ...], **times_s: float) -> Choice:
    return Choice(question="ffn.training", key=(), chosen=chosen, source="measured", times_s=times_s, dear=dear)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def stock() -> activations.FeedForward:
    return activations.FeedForward(12, 19)


def test_what_is_kept_decides_where_recomputing_is_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = FeedForward.of(stock())
    x = random(20, 12)
    monkeypatch.setattr(_block_route, "SMALL", 0)
    monkeypatch.setattr(_choice, "known", lambda question, key: "save")
    for found, wanted in (
        (
            answered("save", (), torch=1.0, save=0.8, recompute=1.04),
            "recompute: keeps 0 MiB less, in 1.04 of the stock",
        ),
        (
            answered("save", ("recompute",), torch=1.0, save=0.8, recompute=1.2),
            "save: measured; recompute, which keeps 0 MiB less, takes 1.2",
        ),
        (
            answered("save", (), save=0.8, recompute=0.84),
            "recompute: keeps 0 MiB less, in 1.05 of save's time",
        ),  # torch raised
        (answered("save", (), torch=1.0, save=0.8), "save: measured"),
    ):
        monkeypatch.setattr(_choice, "measured", lambda question, key, found=found: found)
        for save_bytes, way in ((20 * 2 * 19 * 4, "save: measured"), (20 * 2 * 19 * 4 - 1, wanted)):
            _choice.forget()
            ours.save_bytes = save_bytes
            assert ours.path_of(x).startswith(way)
    _choice.forget()


@pytest.mark.parametrize("way", ["torch", "native"])
def test_save_is_preferred_where_it_costs_little(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = FeedForward.of(stock())
    x = random(20, 12)
    monkeypatch.setattr(_block_route, "SMALL", 0)
    monkeypatch.setattr(_choice, "known", lambda question, key: way)
    for dear, save_s, wanted in (
        ((), 1.0, f"save: keeps less than {way}, in 1.00 of its time"),
        ((), 1.06, f"save: keeps less than {way}, in 1.06 of its time"),  # which was not shown
        (("save",), 1.06, f"{way}: measured"),
    ):
        found = answered(way, dear, torch=1.0, native=1.0, save=save_s, recompute=2.0)
        monkeypatch.setattr(_choice, "measured", lambda question, key, found=found: found)
        _choice.forget()
        assert ours.path_of(x) == wanted
        with torch.no_grad():
            assert ours.path_of(x) == f"{way}: measured"  # nothing is kept there
    _choice.forget()
