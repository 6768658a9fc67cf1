"""Sites are found by structure and numbers: renamed classes are found, look-alikes are not."""

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional

from gatewise import surgery


class Oddly(nn.Module):
    """SiLU under a name that says nothing, made of a part that is an activation itself."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sigmoid()

    def forward(self, x):
        return x * self.inner(x)


class Mlp(nn.Module):
    def __init__(self, act, dim=4, hidden=8, out=4):
        super().__init__()
        self.a = nn.Linear(dim, hidden)
        self.b = act
        self.c = nn.Dropout(0.5)
        self.d = nn.Linear(hidden, out)

    def forward(self, x):
        return self.d(self.c(self.b(self.a(x))))


class ActLast(nn.Module):
    """Holds the three parts of an FFN in order and runs them in another one."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.act = nn.ReLU()
        self.b = nn.Linear(4, 4)

    def forward(self, x):
        return self.act(self.b(self.a(x)))


class Scale(nn.Module):
    def forward(self, x):
        return 2.0 * x + 1.0


def kinds(model):
    return [(site.path, site.kind, site.before) for site in surgery.find_sites(model)]


def test_linear_activation_linear_in_sequential_with_dropout_and_identity_between():
    model = nn.Sequential(nn.Linear(4, 8), nn.Identity(), nn.GELU(), nn.Dropout(), nn.Linear(8, 3))
    assert kinds(model) == [("2", "ffn", "gelu")]
    assert surgery.find_sites(model)[0].parameters == 4 * 8 + 8 + 8 * 3 + 3


def test_a_chain_is_cut_from_the_left():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    assert kinds(model) == [("1", "ffn", "relu"), ("3", "activation", "relu")]


def test_widths_that_do_not_meet_make_no_ffn():
    model = nn.ModuleList([nn.Linear(4, 8), nn.ReLU(), nn.Linear(6, 4)])
    assert kinds(model) == [("1", "activation", "relu")]


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.GELU("tanh"), "gelu_tanh"),
        (Oddly(), "silu"),
        (nn.ELU(), "elu"),
        (nn.Threshold(0.0, 0.0), "relu"),
        (nn.ReLU6(), "ReLU6"),
        (nn.ELU(alpha=0.3), "ELU"),
    ],
)
def test_an_activation_is_what_it_computes(module, name):
    assert kinds(nn.Sequential(module)) == [("0", "activation", name)]


@pytest.mark.parametrize(
    "module",
    [
        nn.Softmax(-1),
        nn.LayerNorm(4, elementwise_affine=False),
        nn.Dropout(),
        nn.Identity(),
        Scale(),
        nn.Flatten(),
        nn.MaxPool1d(1),
        nn.PReLU(),
        nn.Bilinear(2, 2, 2),
    ],
)
def test_what_is_no_activation_is_not_found(module):
    assert surgery.find_sites(nn.Sequential(module)) == ()


def test_an_mlp_class_is_found_by_its_children_whatever_they_are_called():
    assert kinds(nn.ModuleDict({"x": Mlp(Oddly(), out=3)})) == [("x.b", "ffn", "silu")]


def test_three_parts_that_run_in_another_order_are_no_ffn():
    assert kinds(ActLast()) == [("act", "activation", "relu")]


@pytest.mark.parametrize(
    "act", [functional.gelu, torch.tanh, functools.partial(functional.gelu, approximate="tanh"), nn.Mish()]
)
def test_an_encoder_layer_may_hold_a_function_or_a_module(act):
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=act)
    (site,) = surgery.find_sites(layer)
    assert (site.path, site.family) == ("activation", "encoder-layer")
    assert site.before in ("gelu", "tanh", "gelu_tanh", "mish")


def test_looking_changes_neither_the_model_nor_the_global_random_state():
    model = nn.Sequential(Mlp(nn.RReLU()), nn.GELU()).train()
    state = torch.random.get_rng_state()
    before = [(path, module.training) for path, module in model.named_modules()]
    surgery.find_sites(model)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [(path, module.training) for path, module in model.named_modules()] == before


def test_one_activation_in_every_layer_is_one_site_with_aliases():
    act = nn.GELU()
    model = nn.Sequential(nn.Conv1d(1, 1, 1), act, nn.Conv1d(1, 1, 1), act)
    (site,) = surgery.find_sites(model)
    assert site.paths == ("1", "3")


def test_one_mlp_in_every_layer_is_counted_once():
    mlp = Mlp(nn.ReLU())
    (site,) = surgery.find_sites(nn.Sequential(mlp, nn.LayerNorm(4), mlp))
    assert site.paths == ("0.b", "2.b")


def test_a_bert_layer_with_other_names_is_found():
    """The two halves of BERT's FFN under names of our own."""

    class First(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Linear(4, 8)
            self.f = functional.silu

        def forward(self, x):
            return self.f(self.w(x))

    class Second(nn.Module):
        def __init__(self):
            super().__init__()
            self.v = nn.Linear(8, 4)
            self.norm = nn.LayerNorm(4)
            self.drop = nn.Dropout(0.1)

        def forward(self, h, x):
            return self.norm(self.drop(self.v(h)) + x)

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = First(), Second()

        def forward(self, x):
            return self.two(self.one(x), x)

    model = Layer().eval()
    (site,) = surgery.find_sites(model)
    assert (site.path, site.family, site.before) == ("one.f", "bert", "silu")
    new, _ = surgery.swap(model, "relu")
    x = torch.randn(2, 4)
    expected = model.two(functional.relu(model.one.w(x)), x)
    assert torch.equal(new(x), expected)


KW = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


@pytest.mark.parametrize(
    ("name", "extra", "count"),
    [("Bert", {}, 2), ("Roberta", {}, 2), ("Electra", {"embedding_size": 8}, 2), ("Albert", {"embedding_size": 4}, 1)],
)
def test_the_bert_family(name, extra, count):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**KW, **extra)
    model = getattr(transformers, f"{name}Model")(config).eval()
    ffns = [site for site in surgery.find_sites(model) if site.kind == "ffn"]
    assert len(ffns) == count  # ALBERT runs one layer twice
    assert all(site.parameters == 2 * 8 * 16 + 16 + 8 and site.gateable for site in ffns)
    x = torch.arange(6)[None]
    for to in ("relu", "swiglu"):
        new, report = surgery.swap(model, to)
        assert len(report.sites) == count
        assert [path for path, _ in report.left] == [s.path for s in surgery.find_sites(model) if s.before == "tanh"]
        with torch.no_grad():
            assert not torch.equal(new(x)[0], model(x)[0])


def test_distilbert_holds_its_parts_in_another_order():
    transformers = pytest.importorskip("transformers")
    config = transformers.DistilBertConfig(vocab_size=30, dim=8, n_layers=2, n_heads=2, hidden_dim=16)
    sites = surgery.find_sites(transformers.DistilBertModel(config))
    assert [(site.kind, site.before) for site in sites] == [("ffn", "gelu")] * 2
