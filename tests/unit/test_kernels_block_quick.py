"""The short way of a call like one before: it is taken, gives the same, and is left when anything is different."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from live_bytes import LiveBytes
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode

from gatewise import activations
from gatewise.kernels import _block_quick, _choice, _products
from gatewise.kernels._block_route import INFERENCE
from gatewise.kernels._choice import forced
from gatewise.kernels._feedforward import FeedForward

pytestmark = pytest.mark.usefixtures("nothing_chosen")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(activation: str = "swiglu", *, bias: bool = True, path: str | None = None) -> FeedForward:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return FeedForward(12, 19, activation, bias=bias, path=path).eval()


def known(block: FeedForward, x: Tensor) -> bool:
    return _block_quick.find(block, x) is not None


def stock(block: FeedForward, x: Tensor) -> Tensor:
    return activations.FeedForward.forward(block, x)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("shape", [(12,), (1, 12), (3, 5, 12)])
@pytest.mark.parametrize("activation", ["swiglu", "gelu", "relu"])
@pytest.mark.parametrize("way", INFERENCE)
def test_the_second_call_takes_the_short_way_to_the_same(
    way: str, activation: str, shape: tuple[int, ...], mode: type
) -> None:
    block = made(activation, path=way)
    wide = random(2 * shape[0], *shape[1:])
    with mode():
        for x in (random(*shape), wide[::2]):
            first = block(x)
            if _products.available() != ("torch",) or way in ("torch", "native"):
                assert known(block, x)
            second = block(x)
            assert torch.equal(first, second)
            assert second.shape == x.shape
            torch.testing.assert_close(second, stock(block, x), rtol=2e-5, atol=2e-6)


def test_a_call_of_few_multiplications_is_known_too() -> None:
    block, x = made(), random(4, 12)
    with torch.no_grad():
        assert not known(block, x)
        block(x)
        assert known(block, x)
        assert not known(block, x.double())
        assert not known(block, random(5, 12))
        assert block.path_of(x) == "native: at most 1,048,576 multiplications"  # the whole reason, after the call too
    assert not known(block, x)  # a gradient would be recorded


CHANGES: dict[str, Callable[[FeedForward], object]] = {
    "hook": lambda b: b.down.register_forward_hook(lambda *_: None),
    "hook of the unit": lambda b: b.unit.register_forward_pre_hook(lambda *_: None),
    "parametrization": lambda b: parametrizations.weight_norm(b.unit.gate),
    "exchanged": lambda b: setattr(b, "down", nn.Sequential(b.down)),
    "another gate": lambda b: setattr(b, "unit", activations.GatedUnit(12, 19, "geglu", bias=True)),
    "another class": lambda b: setattr(b.down, "__class__", type("Other", (nn.Linear,), {})),
    "a forward of its own": lambda b: setattr(b.down, "forward", b.down.forward),
    "another weight": lambda b: setattr(b.down, "weight", nn.Parameter(b.down.weight.detach() * 2)),
    "no bias": lambda b: setattr(b.down, "bias", None),
    "path": lambda b: setattr(b, "path", "blocked"),
    "accuracy": lambda b: setattr(b, "accuracy", "high"),
    "training": lambda b: b.train(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("way", ["native", "packed", "panels"])
def test_what_is_different_is_asked_about(change: str, way: str) -> None:
    block, x = made(path=way), random(4, 12)
    with torch.no_grad():
        block(x)
        CHANGES[change](block)
        assert not known(block, x)
        torch.testing.assert_close(block(x), stock(block, x), rtol=2e-5, atol=2e-6)


class Watching(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


AROUND: dict[str, Callable[[], Any]] = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "a mode": Watching,
    "a gradient": torch.enable_grad,
    "forced": lambda: forced(ffn="blocked"),
}


@pytest.mark.parametrize("around", AROUND)
def test_what_goes_on_around_the_call_is_asked_about(around: str) -> None:
    block, x = made(path="native"), random(4, 12)
    with torch.no_grad():
        block(x)
        assert known(block, x)
        with AROUND[around]():
            assert not known(block, x)
            assert block(x).dtype is (torch.bfloat16 if around == "autocast" else torch.float32)
        assert known(block, x) is (around != "a gradient")  # which drops what is kept for inference


def test_a_forgotten_choice_is_asked_for_again() -> None:
    block, x = made(), random(4, 12)
    with torch.no_grad():
        block(x)
        _choice.forget()
        assert not known(block, x)


@pytest.mark.parametrize("way", ["native", "blocked", "packed", "panels"])
def test_weights_written_to_are_read(way: str) -> None:
    block, x = made(path=way), random(4, 12)
    with torch.no_grad():
        block(x)
        for change in (lambda w: w.mul_(2), lambda w: w.data.mul_(2), lambda w: setattr(w, "data", w.data * 2)):
            change(block.unit.gate.weight)
            torch.testing.assert_close(block(x), stock(block, x), rtol=2e-5, atol=2e-6)


def test_copies_know_nothing_and_many_shapes_are_not_kept() -> None:
    block = made()
    with torch.no_grad():
        for rows in range(1, 3 * _block_quick.MOST):
            block(random(rows, 12))
            assert len(block.cache.plans) <= _block_quick.MOST
        other = copy.deepcopy(block)
        assert not other.cache.plans
        other.unit.up.weight.zero_()
        assert not other(random(4, 12))[0].equal(block(random(4, 12))[0])


def test_under_a_hook_on_all_modules_the_kernels_run_between_modules() -> None:
    block, x = made(), random(4, 12)
    seen: list[str] = []
    handle = register_module_forward_hook(lambda module, *_: seen.append(type(module).__name__))
    try:
        with torch.no_grad():
            assert block.path_of(x) == "native: a hook on all modules"
            found = block(x)
    finally:
        handle.remove()
    assert seen == ["Linear", "Linear", "Linear", "FeedForward"]
    torch.testing.assert_close(found, stock(block, x), rtol=2e-5, atol=2e-6)


def test_under_a_watching_mode_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewise.kernels._block_route.SMALL", 0)
    monkeypatch.setattr(_choice, "known", lambda *_: None)
    block, x = made(), random(4, 12)
    with torch.no_grad(), LiveBytes():
        assert block.path_of(x) == "native: under a mode that watches every operation, nothing is measured"
