"""torch's fused encoder kernel must never compute the old function after a swap."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from gatewise import activations, surgery


def stack(activation="gelu", layers=2):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation=activation, batch_first=True)
    return nn.TransformerEncoder(layer, layers).eval()


def batch():
    torch.manual_seed(1)
    x = torch.randn(3, 5, 8)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[0, 3:] = True
    padding[2, 4:] = True
    return x, padding


def slowly(model, x, padding=None):
    """The same model on torch's plain path, for reference."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            return model(x, src_key_padding_mask=padding)
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def test_replacing_the_attribute_alone_really_computes_the_old_function():
    """The trap that the adapter is there for: should torch mend it, this test says so."""
    model = stack()
    with torch.inference_mode():
        old = model(batch()[0])
        for layer in model.layers:
            layer.activation = nn.Tanh()
        assert torch.equal(model(batch()[0]), old)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("start", ["gelu", "relu", functional.silu])
@pytest.mark.parametrize("to", ["relu", "gelu", "silu", "gelu_tanh", "swiglu"])
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True:UserWarning")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_fast_and_plain_path_agree_after_a_swap(start, to, padded, mode):
    new, _ = surgery.swap(stack(start), to)
    x, padding = batch()
    mask = padding if padded else None
    expected = slowly(new, x, mask)
    with mode():
        got = new(x, src_key_padding_mask=mask)
    keep = ~padding if padded else torch.ones_like(padding)
    torch.testing.assert_close(got[keep], expected[keep], rtol=1e-4, atol=2e-6)


def test_the_plain_path_computes_what_was_asked_for():
    model = stack(layers=1)
    new, _ = surgery.swap(model, "silu")
    layer = model.layers[0]
    x, _ = batch()
    with torch.no_grad():
        seen = layer.norm1(x + layer.self_attn(x, x, x, need_weights=False)[0])
        expected = layer.norm2(seen + layer.linear2(functional.silu(layer.linear1(seen))))
        torch.testing.assert_close(new(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("to", "flag", "nested"), [("relu", 1, True), ("gelu", 2, True), ("mish", 0, False)])
def test_the_switch_is_what_torch_itself_would_set(to, flag, nested):
    new, report = surgery.swap(stack("relu"), to)
    assert {layer.activation_relu_or_gelu for layer in new.layers} == {flag}
    assert new.use_nested_tensor is nested
    assert ("fast path" in report.sites[0].note) is (flag == 0)


def test_a_layer_whose_fast_path_lies_is_put_right():
    """torch takes nn.GELU("tanh") for the erf form on its fast path; a swap to gelu_tanh ends that."""
    model = stack(nn.GELU("tanh"))
    assert model.layers[0].activation_relu_or_gelu == 2
    new, report = surgery.swap(model, "gelu_tanh")
    assert report.weights_state == "grafted"
    x, _ = batch()
    with torch.no_grad():
        assert not torch.equal(new(x), model(x))
    torch.testing.assert_close(new(x), slowly(model, x), rtol=1e-5, atol=1e-6)


def test_a_fast_path_that_was_switched_off_stays_off():
    model = stack("relu")
    for layer in model.layers:
        layer.activation_relu_or_gelu = 0
    new, _ = surgery.swap(model, "gelu")
    assert {layer.activation_relu_or_gelu for layer in new.layers} == {0}


def test_one_layer_alone_switches_the_packing_off_for_the_stack():
    new, _ = surgery.swap(stack(), "silu", only="layers.1")
    assert [layer.activation_relu_or_gelu for layer in new.layers] == [2, 0]
    x, padding = batch()
    with torch.inference_mode():
        got = new(x, src_key_padding_mask=padding)
    torch.testing.assert_close(got[~padding], slowly(new, x, padding)[~padding], rtol=1e-4, atol=2e-6)


def test_a_swap_there_and_back_is_the_original_again_on_both_paths():
    model = stack()
    back, report = surgery.swap(surgery.swap(model, "relu")[0], "gelu")
    x, _ = batch()
    with torch.inference_mode():
        assert torch.equal(back(x), model(x))
    assert report.weights_state == "grafted"


def test_a_gate_in_a_stack_with_padding_keeps_width_and_gradients():
    new, report = surgery.swap(stack(), "geglu")
    assert isinstance(new.layers[0].linear1, activations.GatedUnit)
    x, padding = batch()
    with torch.inference_mode():
        assert new(x, src_key_padding_mask=padding).shape == x.shape
    new.train()(x).sum().backward()
    assert all(p.grad is not None for p in new.layers[0].linear1.parameters())
    assert report.sites[0].hidden_after == 10  # 16 (2 * 8 + 1) / (3 * 8 + 2) = 10.46
