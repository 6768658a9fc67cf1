"""Activations that a user's own forward calls as functions: found in its graph, swapped there, and nowhere else."""

import copy
import threading

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import nn

from gatewise import surgery
from gatewise.core import GatewiseError


class Ffn(nn.Module):
    """Two Linear layers; what stands between them is the subclass's."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.rate = nn.Linear(4, 8), nn.Linear(8, 4), 0.5

    def bend(self, h):
        raise NotImplementedError

    def forward(self, x):
        return self.fc2(self.bend(self.fc1(x)))


def swish(h):
    return h * torch.sigmoid(h)


def ffn(bend):
    """A class of its own with this function between the layers."""
    return type("Between", (Ffn,), {"bend": lambda self, h: bend(h)})()


def in_place(h):
    h.relu_()
    return h


WRITTEN = {
    "functional": (F.gelu, "gelu"),
    "with arguments": (lambda h: F.gelu(h, approximate="tanh"), "gelu_tanh"),
    "torch.": (torch.relu, "relu"),
    "method": (lambda h: h.relu(), "relu"),
    "in place, as a statement": (in_place, "relu"),
    "in place, by name": (F.relu_, "relu"),
    "in place, by argument": (lambda h: F.relu(h, inplace=True), "relu"),
    "clamp": (lambda h: torch.clamp(h, min=0), "relu"),
    "a function of one's own": (swish, "silu"),
    "quick form": (lambda h: h * torch.sigmoid(1.702 * h), "quick_gelu"),
    "written out": (lambda h: 0.5 * h * (1 + torch.erf(h / 2**0.5)), "gelu"),
    "with dropout": (lambda h: F.dropout(F.silu(h), 0.3, training=False), "silu"),
}


def data():
    return torch.linspace(-2, 2, 12).reshape(3, 4)


@pytest.mark.parametrize("how", WRITTEN)
def test_a_call_is_a_site_however_it_is_written(how, tmp_path):
    bend, before = WRITTEN[how]
    torch.manual_seed(0)
    model = nn.Sequential(ffn(bend), nn.LayerNorm(4)).eval()
    kinds = [type(module) for module in model.modules()]
    (site,) = surgery.find_sites(model)
    assert (site.path, site.kind, site.before, site.gateable) == (f"0.{before}", "ffn", before, True)
    assert site.parameters == 4 * 8 + 8 + 8 * 4 + 4
    assert [type(module) for module in model.modules()] == kinds
    reference = model(data())
    for to in ("mish", "swiglu"):
        new, _ = surgery.swap(model, to)
        assert isinstance(new[0], Ffn)
        surgery.save(new, tmp_path / to, builder=lambda: model)
        back = surgery.load(tmp_path / to, builder=lambda: model)
        assert torch.equal(back(data()), new(data()))
        if to == "mish":
            h = model[0].fc1(data())
            assert torch.equal(new(data()), model[1](model[0].fc2(F.mish(h))))
            again, _ = surgery.swap(back, before)
            torch.testing.assert_close(again(data()), reference, rtol=0, atol=1e-6)
        new.train()(data()).sum().backward()
    assert torch.equal(model(data()), reference)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w1, self.w2, self.w3 = nn.Linear(4, 6), nn.Linear(6, 4), nn.Linear(4, 6)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Residual(Gated):
    def forward(self, x):
        return x + self.w2(self.w3(x) * torch.sigmoid(self.w1(x)))


class Halves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.both, self.down = nn.Linear(4, 12), nn.Linear(6, 4)

    def forward(self, x):
        value, gate = self.both(x).chunk(2, dim=-1)
        return self.down(value * F.gelu(gate))


@pytest.mark.parametrize(
    ("kind", "before", "whole"), [(Gated, "swiglu", 1), (Residual, "glu", 0), (Halves, "geglu", 1)]
)
def test_a_gate_that_a_forward_writes_is_a_gated_site(kind, before, whole):
    torch.manual_seed(0)
    model = nn.Sequential(kind()).eval()
    (site,) = surgery.find_sites(model)
    assert (site.kind, site.before, site.gated, site.gateable) == ("ffn", before, True, bool(whole))
    assert site.parameters == 4 * 12 + 12 + 6 * 4 + 4
    new, report = surgery.swap(model, "reglu")
    assert (report.weights_state, report.sites[0].hidden_before) == ("grafted", 6)
    x, block = data(), model[0]
    if kind is Halves:
        value, gate = block.both(x).chunk(2, dim=-1)
        assert torch.equal(new(x), block.down(value * F.relu(gate)))
    if whole:
        fresh, report = surgery.swap(model, "relu")
        assert report.weights_state == "untrained"
        assert fresh(x).shape == (3, 4)
    else:
        with pytest.raises(GatewiseError, match="computes more than the FFN"):
            surgery.swap(model, "relu")


class Layer(Ffn):
    """A whole layer: attention, an optional mask, dropout that follows the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.norm = nn.MultiheadAttention(4, 2), nn.LayerNorm(4)

    def forward(self, x, mask=None):
        seen, _ = self.attention(x, x, x, attn_mask=mask)
        x = self.norm(x + seen)
        return x + self.fc2(F.dropout(F.gelu(self.fc1(x)), self.rate, training=self.training))


def test_dropout_still_follows_the_mode_and_an_optional_argument_still_counts():
    torch.manual_seed(0)
    model = Layer().eval()
    new, _ = surgery.swap(surgery.swap(model, "mish")[0], "gelu")
    mask = torch.tensor([[0.0, -9.0, -9.0], [0.0, 0.0, -9.0], [0.0, 0.0, 0.0]])
    for arguments in ((data(),), (data(), mask)):
        torch.testing.assert_close(new(*arguments), model(*arguments), rtol=0, atol=1e-6)
    for mode in (model.train(), new.train()):
        torch.manual_seed(1)
        mode.noisy = mode(data())
    torch.testing.assert_close(new.noisy, model.noisy, rtol=0, atol=1e-6)
    assert not torch.equal(new.eval()(data()), new.noisy)


def test_several_calls_in_one_forward_are_several_sites():
    class Many(Ffn):
        def forward(self, x):
            x = F.relu(x)
            return torch.tanh(self.fc2(F.gelu(self.fc1(x)))) + F.relu(x)

    model = nn.Sequential(Many()).eval()
    assert [(site.path, site.kind) for site in surgery.find_sites(model)] == [
        ("0.relu", "activation"),
        ("0.gelu", "ffn"),
        ("0.tanh", "activation"),
        ("0.relu_2", "activation"),
    ]
    new, _ = surgery.swap(model, "silu", only="0.relu_2")
    x, block = data(), model[0]
    first = F.relu(x)
    assert torch.equal(new(x), torch.tanh(block.fc2(F.gelu(block.fc1(first)))) + F.silu(first))


class Branches(Ffn):
    def forward(self, x):
        if x.sum() > 0:
            x = F.relu(x)
        return x


class Optional(Ffn):
    def forward(self, x, mask=None):
        h = F.gelu(self.fc1(x))
        if mask is not None:
            h = h * mask
        return self.fc2(h)


class Written(Ffn):
    def forward(self, x):
        return self.fc2(F.silu(self.fc1(x)) + torch.rand(8))


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [(Branches, "relu", "control flow"), (Optional, "gelu", "depends on mask"), (Written, "silu", "a constant tensor")],
)
def test_what_cannot_be_traced_is_named_with_its_line_and_left_alone(kind, name, why):
    model = nn.Sequential(kind()).eval()
    (site,) = surgery.find_sites(model)
    assert not site.swappable
    said = rf"{name} is called in the forward of {kind.__name__} \(test_surgery_families_calls\.py:\d+\).*{why}"
    with pytest.raises(GatewiseError, match=said):
        surgery.swap(model, "mish")
    mixed = nn.Sequential(kind(), nn.Linear(4, 8), nn.ReLU() if name == "relu" else nn.GELU(), nn.Linear(8, 4))
    if name == site.before != "silu":
        _, report = surgery.swap(mixed, "mish")
        assert [change.path for change in report.sites] == ["2"]
        assert [path for path, _ in report.left] == [site.path]


def test_a_tensor_that_others_read_is_not_overwritten_by_another_function():
    class Kept(Ffn):
        def forward(self, x):
            h = self.fc1(x)
            view = h[:, :4]
            h.relu_()
            return self.fc2(h) + view

    (site,) = surgery.find_sites(nn.Sequential(Kept()))
    assert not site.swappable
    assert "others may read" in site.obstacle


def test_modules_that_other_threads_run_meanwhile_are_left_alone():
    """torch.fx patches every module of the process while it traces."""
    model, other = nn.Sequential(ffn(F.gelu)), nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    wanted, stop, errors = other(data()), threading.Event(), []

    def keep_running():
        while not stop.is_set():
            try:
                assert torch.equal(other(data()), wanted)
            except BaseException as error:  # noqa: BLE001  (whatever the patch does to it)
                errors.append(error)
                return

    thread = threading.Thread(target=keep_running)
    thread.start()
    try:
        for _ in range(20):
            assert len(surgery.find_sites(copy.deepcopy(model))) == 1
    finally:
        stop.set()
        thread.join()
    assert errors == []
