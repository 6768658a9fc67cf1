"""Exact conversion: the new model computes what the old one computed, for every family, dtype, scale and bias."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from gatewise import activations, surgery
from gatewise.core import GatewiseError
from gatewise.surgery import adapters

ACTS = {"relu": nn.ReLU, "gelu": nn.GELU, "gelu_tanh": lambda: nn.GELU("tanh"), "silu": nn.SiLU, "sigmoid": nn.Sigmoid}
GATES = {"relu": "reglu", "gelu": "geglu", "gelu_tanh": "geglu_tanh", "silu": "swiglu", "sigmoid": "glu"}
SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, 4)
        self.act = nn.SiLU()

    def forward(self, x):
        return self.down(self.act(self.gate(x)) * self.up(x))


def keep(model, to, **arguments):
    return surgery.swap(model, to, keep_function=True, **arguments)


def answer(model, *inputs):
    with torch.no_grad():
        out = model(*inputs)
    return out if isinstance(out, torch.Tensor) else out[0]


@given(
    act=st.sampled_from(sorted(ACTS)),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 70), st.integers(1, 40)),
    biases=st.tuples(st.booleans(), st.booleans()),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    scale=st.sampled_from([1e-6, 1e-2, 1.0, 30.0, 1e5]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_a_plain_block_is_kept_within_the_rounding_of_its_dtype(act, shape, biases, dtype, scale, seed):
    torch.manual_seed(seed)
    (i, h, o), (first, second) = shape, biases
    model = nn.Sequential(nn.Linear(i, h, bias=first), ACTS[act](), nn.Linear(h, o, bias=second)).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    x = torch.randn(7, i, dtype=dtype)
    new, report = keep(model, GATES[act])
    assert report.weights_state == "converted"
    assert [site.method for site in report.sites] == ["exact"]
    assert new[0].gate.out_features == h
    assert torch.equal(new[2].weight, model[2].weight)
    before, after = answer(model, x).double(), answer(new, x).double()
    # One rounding of each product and sum: the pre-activation may come from another kernel where a bias is new.
    size = model[1](model[0](x)).double().abs() @ model[2].weight.double().abs().t() + before.abs()
    wiggle = (x.double().abs() @ model[0].weight.double().abs().t()) @ model[2].weight.double().abs().t()
    assert bool(((after - before).abs() <= 4 * torch.finfo(dtype).eps * (size + wiggle)).all())


@pytest.mark.parametrize("act", sorted(ACTS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_with_biases_it_is_bit_for_bit_the_same(act, dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 48), ACTS[act](), nn.Dropout(0.1), nn.Linear(48, 12)).to(dtype).eval()
    x = torch.randn(64, 12, dtype=dtype) * 3
    assert torch.equal(answer(keep(model, GATES[act])[0], x), answer(model, x))


def bert(act):
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(vocab_size=50, hidden_act=act, **SIZES)), torch.arange(14).reshape(2, 7)


def vit(act):
    from transformers import ViTConfig, ViTModel

    return ViTModel(ViTConfig(image_size=16, patch_size=8, hidden_act=act, **SIZES)), torch.randn(2, 3, 16, 16)


def gpt2(act):
    from transformers import GPT2Config, GPT2Model

    config = GPT2Config(
        vocab_size=50, n_embd=24, n_layer=2, n_head=2, activation_function=act, bos_token_id=1, eos_token_id=1
    )
    return GPT2Model(config), torch.arange(14).reshape(2, 7)


def albert(act):
    from transformers import AlbertConfig, AlbertModel

    return AlbertModel(AlbertConfig(vocab_size=50, embedding_size=8, hidden_act=act, **SIZES)), torch.arange(
        14
    ).reshape(2, 7)


@pytest.mark.parametrize("family", [bert, vit, gpt2, albert])
@pytest.mark.parametrize(("act", "to"), [("relu", "reglu"), ("gelu", "geglu"), ("gelu_new", "geglu_tanh")])
def test_families_of_transformers_are_kept_and_go_round(family, act, to, tmp_path):
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    model, inputs = family(act)
    model.eval()
    new, report = keep(model, to)
    assert report.weights_state == "converted"
    assert {site.after for site in report.sites} == {to}
    torch.testing.assert_close(answer(new, inputs), answer(model, inputs), rtol=1e-6, atol=1e-6)
    surgery.save(new, tmp_path)
    back = surgery.load(tmp_path)
    assert torch.equal(answer(back, inputs), answer(new, inputs))
    assert surgery.weights_state(back) == "converted"


@pytest.mark.parametrize("family", [name for name in adapters.ADAPTERS if name not in ("gated", "activation")])
def test_the_example_of_every_adapter_is_kept(family):
    if family == "bert":
        pytest.importorskip("transformers")
    torch.manual_seed(0)
    example = adapters.ADAPTERS[family].example()
    example.model.eval()
    sites = {site.path: site for site in surgery.find_sites(example.model)}
    first = sites[example.paths[0]]
    if first.kind != "ffn" or first.gated or not first.gateable or first.before not in GATES:
        pytest.skip(f"{family} finds no scalar FFN that can take a gate")
    new, report = keep(example.model, GATES[first.before])
    assert {site.method for site in report.sites} == {"exact"}
    expected = answer(example.model, *example.inputs)
    torch.testing.assert_close(answer(new, *example.inputs), expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("act", "to"), [("relu", "reglu"), ("gelu", "geglu")])
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")
def test_encoder_layers_leave_the_fused_path(act, to, bias):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=act, batch_first=True, bias=bias)
    model = nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(3, 5, 8)
    new, report = keep(model, to)
    assert {layer.activation_relu_or_gelu for layer in new.layers} == {0}
    assert "fast path" in report.sites[0].note or not bias
    with torch.inference_mode():
        torch.testing.assert_close(new(x), model(x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(new.train(False)(x), model(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")
def test_the_note_says_that_the_fused_path_took_a_tanh_layer_for_the_erf_form(batch_first):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=nn.GELU("tanh"), batch_first=batch_first).eval()
    x = torch.randn(3, 5, 8)
    new, report = keep(layer, "geglu_tanh")
    with torch.inference_mode():
        fused = layer(x)
        assert torch.equal(fused, layer(x))
        apart = float((new(x) - fused).abs().max())
    plain = layer(x.requires_grad_())  # with autograd torch runs the plain path
    torch.testing.assert_close(new(x), plain, rtol=1e-5, atol=1e-6)
    assert "computed gelu (erf) for this tanh layer" in report.sites[0].note
    assert (apart > 1e-5) is batch_first
    assert "erf" not in keep(nn.TransformerEncoderLayer(8, 2, 16, activation="gelu"), "geglu")[1].sites[0].note


def test_our_own_feed_forward_tells_the_truth():
    block = activations.FeedForward(6, activation="gelu", bias=True)
    new, _ = keep(nn.Sequential(block), "geglu")
    x = torch.randn(4, 6)
    assert torch.equal(new(x), block(x))
    assert (new[0].activation, new[0].hidden) == ("geglu", 24)


@pytest.mark.parametrize(
    ("act", "to", "message"),
    [
        ("gelu_tanh", "geglu", r"geglu does not keep gelu_tanh.*\n.*geglu_tanh keeps it exactly"),
        ("gelu", "geglu_tanh", r"\n.*geglu keeps it exactly"),
        ("gelu", "reglu", r"\n.*geglu keeps it exactly"),
        ("relu", "geglu", r"\n.*reglu keeps it exactly"),
        ("gelu", "swiglu", r"calibration set\n.*geglu keeps it exactly"),
        ("gelu", "silu", "calibration"),
        ("gelu", "swiglu_clamped", "swiglu_clamped"),
    ],
)
def test_what_would_not_keep_the_function_is_refused_with_the_right_name(act, to, message):
    model = nn.Sequential(nn.Linear(4, 8), ACTS[act](), nn.Linear(8, 4))
    with pytest.raises(GatewiseError, match=message):
        keep(model, to)


def test_other_refusals():
    with pytest.raises(GatewiseError, match="one input"):
        keep(nn.Sequential(Gated()), "gelu")
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
    with pytest.raises(GatewiseError, match="keep_function"):
        surgery.swap(model, "swiglu", calibration=[torch.randn(4, 4)])
    with pytest.raises(GatewiseError, match="calibration"):
        keep(model, "geglu", matching="params")
    with pytest.raises(GatewiseError, match="stands alone"):
        keep(nn.Sequential(nn.Conv1d(1, 1, 1), nn.GELU()), "silu", calibration=[torch.randn(2, 1, 4)])


def test_what_is_there_already_stays():
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
    new, report = keep(model, "gelu")
    assert (report.weights_state, report.sites[0].method) == ("original", "none")
    assert torch.equal(new[0].weight, model[0].weight)


def test_quick_gelu_becomes_swiglu_by_two_constants():
    class Quick(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(1.702 * x)

    model = nn.Sequential(nn.Linear(6, 20), Quick(), nn.Linear(20, 6)).double()
    new, report = keep(model, "swiglu")
    assert report.sites[0].method == "scaled"
    x = torch.randn(30, 6, dtype=torch.float64) * 4
    torch.testing.assert_close(new(x), model(x), rtol=1e-13, atol=1e-13)


def test_training_goes_on_from_there():
    model = nn.Sequential(nn.Linear(6, 20), nn.GELU(), nn.Linear(20, 6)).train()
    model[0].weight.requires_grad_(False)
    new, _ = keep(model, "geglu")
    assert new.training
    assert not new[0].gate.weight.requires_grad
    assert not new[0].up.weight.requires_grad
    free, _ = keep(nn.Sequential(nn.Linear(6, 20), nn.GELU(), nn.Linear(20, 6)), "geglu")
    free(torch.randn(9, 6)).square().sum().backward()
    assert free[0].up.weight.grad.abs().sum() > 0
    assert bool((free[0].up.weight == 0).all())


def test_states_and_report_are_plain():
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
    grafted, _ = surgery.swap(model, "relu")
    new, report = keep(grafted, "reglu")
    assert report.weights_state == "grafted"  # the function is kept, but it is not the trained one
    assert json.loads(json.dumps(report.to_json(), allow_nan=False)) == report.to_json()
    assert report.matching == "none"
    assert report.sites[0].hidden_after == 8
    x = torch.randn(3, 4)
    assert torch.equal(new(x), model[2](functional.relu(model[0](x))))
