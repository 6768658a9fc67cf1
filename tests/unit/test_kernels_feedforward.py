"""The block as a module: what it keeps of the stock one, which way a call takes, when packed weights are stale."""

import copy
import io
import pickle
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from gatewise import activations, kernels
from gatewise.core import GatewiseError
from gatewise.kernels import _block_candidates as ways
from gatewise.kernels import _block_route, _choice, _products
from gatewise.kernels._choice import forced
from gatewise.kernels._feedforward import FeedForward

WHOLE = ("panels", "split", "packed", "blocked", "save", "recompute")
PANELS = ("panels",) if kernels.status().path is not None else ()
if _products.missing("split") is None:
    PANELS += ("split",)
packs = pytest.mark.skipif(not _products.packable(), reason="oneDNN packs no weights here")


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test depends on what is quick here, nor on what was measured before."""
    monkeypatch.setattr(ways, "ROWS", 8)
    monkeypatch.setattr(ways, "MOST_TIMES", 1)
    with forced(linear="torch"):
        yield


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stock(activation: str = "swiglu", *, bias: bool = True) -> activations.FeedForward:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return activations.FeedForward(12, 19, activation, bias=bias)


def near(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=2e-5, atol=2e-6)


def message(error: pytest.ExceptionInfo[GatewiseError]) -> str:
    return str(error.value).splitlines()[0]


@pytest.mark.parametrize("activation", ["swiglu", "gelu", "relu"])
def test_parameters_names_and_state_are_the_stock_ones(activation: str) -> None:
    block = stock(activation)
    made = FeedForward(12, 19, activation, bias=True)
    assert [(n, p.shape) for n, p in made.named_parameters()] == [(n, p.shape) for n, p in block.named_parameters()]
    assert made.load_state_dict(block.state_dict()) == nn.modules.module._IncompatibleKeys([], [])
    near(made(random(5, 12)), block(random(5, 12)))
    torch.manual_seed(3)
    ours = FeedForward(8)
    torch.manual_seed(3)
    theirs = activations.FeedForward(8)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_of_shares_parameters_hooks_and_mode() -> None:
    block = stock().eval()
    seen: list[str] = []
    handle = block.register_forward_hook(lambda *_: seen.append("hook"))
    block.down.weight.requires_grad_(False)
    ours = FeedForward.of(block)
    assert all(a is b for a, b in zip(ours.parameters(), block.parameters(), strict=True))
    assert not ours.training
    ours(random(2, 12))
    handle.remove()
    ours(random(2, 12))
    assert seen == ["hook"]
    assert FeedForward.of(ours, path="blocked").path == "blocked"


def test_bad_input_is_one_clear_line() -> None:
    class Other(activations.FeedForward):
        pass

    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: FeedForward(12, accuracy="hihg"), "unknown accuracy 'hihg'"),
        (lambda: FeedForward(12, path="pakced"), "unknown path of a feed-forward block 'pakced'"),
        (lambda: FeedForward(12)(random(3, 11)), "FeedForward expects [..., 12], got [3, 11]"),
        (lambda: FeedForward(12)(torch.tensor(1.0)), "FeedForward expects [..., 12], got []"),
        (lambda: FeedForward.of(Other(12)), "FeedForward.of takes an activations.FeedForward itself, not Other"),
    ]
    for call, wanted in cases:
        with pytest.raises(GatewiseError) as error:
            call()
        assert message(error).startswith(wanted), message(error)


@pytest.mark.parametrize("way", WHOLE)
def test_shapes_strides_and_leading_dimensions(way: str) -> None:
    block = stock()
    ours = FeedForward.of(block, path=way)
    xs = [random(12), random(1, 12), random(2, 3, 5, 12), random(12, 30).t(), random(7, 24)[:, ::2]]
    xs += [random(1, 12).expand(20, 12), random(0, 12), random(3, 0, 12), random(5, 40, 12).transpose(0, 1)]
    for x in xs:
        for grad in (False, True):
            with torch.set_grad_enabled(grad):
                found, wanted = ours(x), block(x)
            assert found.shape == wanted.shape
            assert found.requires_grad == wanted.requires_grad
            near(found, wanted)


@pytest.mark.parametrize("way", WHOLE)
def test_copies_and_pickles(way: str) -> None:
    ours = FeedForward(12, 19, path=way, accuracy="high")
    x = random(20, 12)
    with torch.no_grad():
        wanted = ours(x)  # weights are packed now
        for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
            assert (other.path, other.accuracy, other.packed_bytes) == (way, "high", 0)
            assert torch.equal(other(x), wanted)
        file = io.BytesIO()
        torch.save(ours.state_dict(), file)
        file.seek(0)
        fresh = FeedForward(12, 19, path=way, accuracy="high")
        fresh.load_state_dict(torch.load(file))
        assert torch.equal(fresh(x), wanted)


def _optimizer(block: FeedForward) -> None:
    optimizer = torch.optim.SGD(block.parameters(), lr=0.5)
    for each in block.parameters():
        each.grad = torch.ones_like(each)
    optimizer.step()


def _swapped(block: FeedForward) -> None:
    block.down.weight.data = block.down.weight.data * 2


def _hidden(block: FeedForward) -> None:
    block.unit.gate.weight.data.mul_(2)  # torch does not count this


def _loaded(block: FeedForward) -> None:
    block.load_state_dict({name: each * 2 for name, each in block.state_dict().items()})


def _part_loaded(block: FeedForward) -> None:
    block.down.load_state_dict({name: each * 2 for name, each in block.down.state_dict().items()})


def _assigned(block: FeedForward) -> None:
    block.unit.up.weight = nn.Parameter(block.unit.up.weight.detach() * 2)


def _biased(block: FeedForward) -> None:
    with torch.no_grad():
        block.unit.up.bias.add_(1)


CHANGES = (_optimizer, _swapped, _hidden, _loaded, _part_loaded, _assigned, _biased)


@packs
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("way", ["packed", *PANELS])
def test_packed_weights_follow_the_weights(change: Callable[[FeedForward], None], mode: type, way: str) -> None:
    ours = FeedForward.of(stock(), path=way)
    x = random(20, 12)
    with mode():
        before = ours(x)
    assert ours.packed_bytes > 0
    change(ours)
    with mode():
        after = ours(x)
    assert not torch.allclose(before, after, rtol=0.01)
    near(after, activations.FeedForward.forward(ours, x))


@packs
@pytest.mark.parametrize("way", ["packed", *PANELS])
def test_packed_weights_are_dropped_and_can_be_done_without(way: str) -> None:
    ours = FeedForward.of(stock(), path=way)
    x = random(130, 12)  # more than `rows` is a candidate for

    def packed() -> bool:
        with torch.no_grad():
            ours(x)
        return ours.packed_bytes > 0

    assert packed()
    ours.train()
    assert ours.packed_bytes == 0
    assert packed()
    ours.double().float()
    assert ours.packed_bytes == 0
    assert packed()
    ours(x.clone().requires_grad_())
    assert ours.packed_bytes == 0
    assert packed()
    ours.drop_packed()
    assert ours.packed_bytes == 0
    frugal = FeedForward.of(stock(), pack=False)
    seen: list[list[str]] = []

    def choose(question: str, key: object, candidates: dict[str, object], prices: object = None) -> str:
        if question.startswith("linear"):
            return "torch"
        seen.append(list(candidates))
        return "blocked"

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(_block_route, "SMALL", 0)
        patch.setattr(_choice, "known", lambda *_: None)
        patch.setattr(_choice, "choose", choose)
        near(frugal(x), stock()(x))
        frugal.pack = True
        frugal(x)
    assert seen == [["torch", "blocked"], ["torch", *PANELS, "packed", "blocked"]]
    assert frugal.packed_bytes == 0


def test_weights_made_in_inference_mode_are_not_packed() -> None:
    with torch.inference_mode():
        ours = FeedForward(12, 19, path="packed")
        near(ours(random(20, 12)), activations.FeedForward.forward(ours, random(20, 12)))
    assert ours.packed_bytes == 0


ALTERED: dict[str, tuple[Callable[[FeedForward], object], str]] = {
    "hook": (lambda b: b.down.register_forward_hook(lambda *_: None), "down has a hook"),
    "pre-hook": (lambda b: b.unit.register_forward_pre_hook(lambda *_: None), "unit has a hook"),
    "backward hook": (lambda b: b.unit.up.register_full_backward_hook(lambda *_: None), "unit.up has a hook"),
    "parametrization": (lambda b: parametrizations.weight_norm(b.unit.gate), "unit.gate is a ParametrizedLinear"),
    "exchanged": (lambda b: setattr(b, "down", nn.Sequential(b.down)), "down is a Sequential"),
    "another gate": (lambda b: setattr(b, "unit", activations.GatedUnit(12, 19, "geglu")), "unit is not the swiglu"),
    "another forward": (lambda b: setattr(b.down, "forward", b.down.forward), "down has a forward of its own"),
    "float64": (lambda b: b.double(), "weights of torch.float64 and an input of torch.float32"),
}


@pytest.mark.parametrize("case", ALTERED)
@pytest.mark.parametrize("way", ["packed", "save"])
def test_a_block_that_was_changed_takes_the_stock_way(case: str, way: str) -> None:
    change, why = ALTERED[case]
    ours = FeedForward.of(copy.deepcopy(stock()), path=way)
    with torch.set_grad_enabled(way == "save"):
        assert ours.path_of(random(20, 12)) == f"{way}: path={way!r}"
        change(ours)
        assert ours.path_of(random(20, 12)).startswith(f"torch: {why}")
        if case != "float64":
            x = random(20, 12)
            assert torch.equal(ours(x), activations.FeedForward.forward(ours, x))


def test_hooks_of_parts_run() -> None:
    ours = FeedForward.of(copy.deepcopy(stock()), path="save")
    seen: list[str] = []
    ours.down.register_forward_hook(lambda *_: seen.append("forward"))
    ours.unit.register_full_backward_hook(lambda *_: seen.append("backward"))
    ours(random(20, 12).requires_grad_()).sum().backward()
    assert seen == ["forward", "backward"]


def test_which_way_and_why() -> None:
    ours = FeedForward.of(stock())
    x = random(20, 12)
    assert ours.path_of(x) == "native: at most 1,048,576 multiplications"
    assert ours.path_of(x.double()) == "torch: the kernels are for float32 and bfloat16, not torch.float64"
    assert ours.path_of(x[:0]) == "torch: no tokens"
    with forced(ffn="recompute"):
        assert ours.path_of(x) == "recompute: forced"
    with forced(ffn="blocked"), torch.no_grad():
        assert ours.path_of(x) == "blocked: forced"
        near(ours(x), stock()(x))
    assert torch.func.grad(lambda x: ours(x).sum())(x).shape == x.shape


def test_candidates_agree_and_touch_nothing() -> None:
    ours = FeedForward.of(stock())
    ours.down.weight.requires_grad_(False)
    x = random(130, 12).requires_grad_()
    weights = _block_route.read(ours)
    assert not isinstance(weights, str)
    state = copy.deepcopy(ours.state_dict())
    for training, expected in (
        (False, ["torch", *PANELS, "packed", "blocked"]),
        (True, ["torch", "native", "save", "recompute"]),
    ):
        with torch.no_grad():
            found = ways.candidates(ours, x, weights, torch.float32, training=training)
            assert list(found) == [name for name in expected if name != "packed" or _products.packable()]
            results = {name: call() for name, call in found.items()}
        for result in results.values():
            for one, want in zip(*(r if training else (r,) for r in (result, results["torch"])), strict=True):  # pyright: ignore
                near(one, want)
    assert all(each.grad is None for each in (x, *ours.parameters()))
    assert not ours.down.weight.requires_grad
    assert all(torch.equal(each, state[name]) for name, each in ours.state_dict().items())


@pytest.mark.parametrize("way", WHOLE)
def test_autocast_gives_what_the_stock_block_gives(way: str) -> None:
    block = stock()
    ours = FeedForward.of(block, path=way)
    x = random(20, 12)
    training = way in ("save", "recompute")
    with torch.autocast("cpu", torch.bfloat16), torch.set_grad_enabled(training):
        found, wanted = ours(x), block(x)
    assert found.dtype == wanted.dtype == torch.bfloat16
    torch.testing.assert_close(found, wanted, rtol=0.03, atol=0.01)
    if training:
        parameters = list(block.parameters())
        for one, want in zip(*(torch.autograd.grad(y.sum(), parameters) for y in (found, wanted)), strict=True):
            assert one.dtype == torch.float32
            torch.testing.assert_close(one, want, rtol=0.05, atol=0.05)


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # torch's own, at its first jvp
@pytest.mark.parametrize("activation", ["swiglu", "gelu", "relu"])
def test_transforms_and_forward_mode(activation: str) -> None:
    block = stock(activation)
    ours = FeedForward.of(block, path="save")
    x, v = random(6, 12), random(6, 12, seed=4)
    near(torch.vmap(ours)(x), block(x))
    near(torch.func.vmap(torch.func.grad(lambda x: ours(x).sum()))(x), torch.func.grad(lambda x: block(x).sum())(x))
    near(torch.func.jvp(ours, (x,), (v,))[1], torch.func.jvp(block, (x,), (v,))[1])


@pytest.mark.parametrize("activation", ["swiglu", "relu"])
def test_compiled_in_one_graph(activation: str) -> None:
    block = stock(activation)
    ours = FeedForward.of(block, path="save")
    x = random(20, 12).requires_grad_()
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    near(compiled(x), block(x))
    parameters = [x, *block.parameters()]
    for one, want in zip(*(torch.autograd.grad(f(x).sum(), parameters) for f in (compiled, block)), strict=True):
        near(one, want)
    with torch.no_grad():
        near(compiled(x), block(x))


def test_checkpointing_recomputes_the_block() -> None:
    block = stock()
    ours = FeedForward.of(block, path="save")
    x = random(20, 12)
    out = torch.utils.checkpoint.checkpoint(ours, x, use_reentrant=False)
    assert isinstance(out, Tensor)
    parameters = list(block.parameters())
    found, wanted = torch.autograd.grad(out.sum(), parameters), torch.autograd.grad(block(x).sum(), parameters)
    for one, want in zip(found, wanted, strict=True):
        near(one, want)


def test_training_comes_to_the_same() -> None:
    block, ours = stock(), FeedForward.of(copy.deepcopy(stock()), path="recompute")
    x, y = random(64, 12), random(64, 12, seed=9)
    for each in (block, ours):
        optimizer = torch.optim.AdamW(each.parameters(), lr=0.01)
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.mse_loss(each(x), y).backward()
            optimizer.step()
    torch.testing.assert_close(ours(x), block(x), rtol=1e-3, atol=1e-4)


def test_weights_that_change_while_they_are_packed_are_packed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As another thread's optimizer step does."""
    block = FeedForward(64, 96, path="packed").eval()
    x, real, packs = torch.randn(16, 64), _products.pack, iter(range(100))

    def pack(weight: torch.Tensor, rows: int) -> torch.Tensor:
        packed = real(weight, rows)
        if next(packs) == 1:
            for each in block.parameters():
                each.mul_(2)
        return packed

    monkeypatch.setattr(_products, "pack", pack)
    with torch.no_grad():
        block(x)
        right = activations.FeedForward.forward(block, x)
        torch.testing.assert_close(block(x), right, rtol=1e-4, atol=1e-5)
