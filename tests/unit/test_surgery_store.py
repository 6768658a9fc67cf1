"""Models go to disk and come back bit by bit, or are refused."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gatewise import activations, surgery
from gatewise.core import GatewiseError
from gatewise.surgery import builders


def round_trip(model, folder):
    surgery.save(model, folder)
    return surgery.load(folder)


def same(model, back):
    mine = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    theirs = {**dict(back.named_parameters()), **dict(back.named_buffers())}
    assert mine.keys() == theirs.keys()
    for name, tensor in mine.items():
        other = theirs[name]
        assert (tensor.dtype, tensor.stride(), tensor.requires_grad) == (
            other.dtype,
            other.stride(),
            other.requires_grad,
        )
        # Compared as bytes, so that NaN and the sign of zero count too.
        assert torch.equal(
            tensor.detach().contiguous().flatten().view(torch.uint8),
            other.detach().contiguous().flatten().view(torch.uint8),
        )


TREES = {
    "plain": lambda: nn.Sequential(nn.Linear(3, 4, bias=False), nn.LeakyReLU(0.2), nn.LayerNorm(4, eps=1e-3)),
    "embedding": lambda: nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.Dropout(0.2), nn.RMSNorm(4)),
    "convolution": lambda: nn.Sequential(
        nn.Conv2d(3, 4, (3, 1), padding="same", groups=1), nn.BatchNorm2d(4), nn.Hardtanh(-2, 1), nn.Flatten(2)
    ),
    "one dimension": lambda: nn.Sequential(nn.Conv1d(2, 4, 3, stride=2, dilation=2), nn.GELU("tanh"), nn.MaxPool1d(2)),
    "ours": lambda: nn.Sequential(
        activations.FeedForward(4), activations.FeedForward(4, activation="silu"), activations.Activation("relu2")
    ),
    "gate": lambda: nn.Sequential(activations.GatedUnit(4, 6, "geglu", bias=True), nn.Softplus(2.0, 10.0)),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.ModuleDict({"a": nn.PReLU()}), nn.Softmax(-1)),
    "attention": lambda: nn.Sequential(nn.MultiheadAttention(8, 2, bias=False, batch_first=True, add_bias_kv=True)),
    "encoder": lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 12, dropout=0.3, activation="gelu", batch_first=True, layer_norm_eps=1e-4),
        2,
        norm=nn.LayerNorm(8),
        mask_check=False,
    ),
    "encoder, norm first": lambda: nn.TransformerEncoderLayer(8, 2, 12, activation=nn.SiLU(), norm_first=True),
}


@pytest.mark.parametrize("name", TREES)
def test_trees_of_stock_modules(name, tmp_path):
    model = TREES[name]()
    back = round_trip(model.train(), tmp_path)
    assert repr(back) == repr(model)
    assert not any(module.training for module in back.modules())
    same(model, back)


@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=5),
    names=st.lists(st.sampled_from(activations.names("scalar")), min_size=4, max_size=4),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
    seed=st.integers(0, 100),
)
@settings(max_examples=25, deadline=None)
def test_any_stack_in_any_dtype(tmp_path_factory, sizes, names, dtype, seed):
    torch.manual_seed(seed)
    parts = []
    for before, after, name in zip(sizes, sizes[1:], names, strict=False):
        parts += [nn.Linear(before, after), activations.Activation(name)]
    model = nn.Sequential(*parts).to(dtype).eval()
    back = round_trip(model, tmp_path_factory.mktemp("model"))
    same(model, back)
    x = torch.randn(3, sizes[0]).to(dtype)
    assert torch.equal(model(x).view(torch.uint8), back(x).view(torch.uint8))


def test_special_values_and_mixed_dtypes(tmp_path):
    model = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 1), nn.BatchNorm1d(3))
    model[2].register_buffer("running_mean", torch.rand(3, dtype=torch.float64))
    with torch.no_grad():
        model[0].weight[0] = torch.tensor([float("nan"), float("inf"), -0.0, 1e-42])
    model[1].half()
    model[0].bias.requires_grad_(False)
    same(model, round_trip(model, tmp_path))


def test_channels_last_weights_come_back_as_they_lay(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 4, 3)).to(memory_format=torch.channels_last)
    model.append(nn.Linear(3, 5))
    model[1].weight.data = torch.randn(3, 5).t()
    back = round_trip(model, tmp_path)
    same(model, back)
    assert back[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_ties_shared_modules_and_shared_memory(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.GELU())
    model[1].weight = model[0].weight
    model[2].weight = nn.Parameter(model[0].weight.detach())
    model.append(model[3])
    model.append(model[0])
    back = round_trip(model, tmp_path)
    same(model, back)
    assert back[1].weight is back[0].weight
    assert back[2].weight is not back[0].weight
    assert back[2].weight.data_ptr() == back[0].weight.data_ptr()
    assert back[4] is back[3]
    assert back[5] is back[0]
    assert (tmp_path / "model.safetensors").stat().st_size < 4 * (16 + 3 * 4) + 800


def test_memory_shared_in_part_is_refused(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    model[1].weight = nn.Parameter(model[0].weight.detach()[1:3])
    with pytest.raises(GatewiseError, match="share a part of their memory"):
        surgery.save(model, tmp_path)


def test_loaded_parameters_lie_in_memory_of_their_own(tmp_path):
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))
    surgery.save(model, tmp_path)
    one, two = surgery.load(tmp_path), surgery.load(tmp_path)
    for back in (one, two):
        for parameter in back.parameters():
            storage = parameter.untyped_storage()
            assert storage.nbytes() == parameter.numel() * parameter.element_size()  # no window into a file
            assert storage.resizable()
            assert parameter.data_ptr() % 64 == 0
    with torch.no_grad():
        one[0].weight.zero_()
    assert torch.equal(two[0].weight, model[0].weight)
    assert torch.equal(surgery.load(tmp_path)[0].weight, model[0].weight)


def test_load_touches_neither_the_random_state_nor_the_defaults(tmp_path):
    surgery.save(nn.Sequential(nn.Linear(4, 4), nn.Embedding(3, 3)), tmp_path)
    state = torch.random.get_rng_state()
    torch.set_default_dtype(torch.float64)
    try:
        back = surgery.load(tmp_path)
        assert torch.get_default_dtype() is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert back[0].weight.dtype is torch.float32
    assert torch.equal(torch.random.get_rng_state(), state)


def test_surgeries_are_remembered_over_save_and_load(tmp_path):
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))
    first, _ = surgery.swap(model, "relu")
    back = round_trip(first, tmp_path)
    second, report = surgery.swap(back, "swiglu")
    recipe = surgery.describe(second)
    assert [entry["to"] for entry in recipe["surgeries"]] == ["relu", "swiglu"]
    assert recipe["surgeries"][1] == report.to_json()
    assert recipe["weights_state"] == "untrained"
    assert recipe["weights"] is None
    again = round_trip(second, tmp_path)  # over the first one
    same(second, again)
    assert surgery.weights_state(again) == "untrained"


class Custom(nn.Module):
    """A model of somebody's own, with a buffer that is not persistent and a swap in the middle."""

    def __init__(self, dim):
        super().__init__()
        self.dim = dim
        self.ffn = nn.Sequential(nn.Linear(dim, 16), nn.GELU(), nn.Linear(16, dim))
        self.register_buffer("noise", torch.arange(dim).float(), persistent=False)
        self.gatewise_builder = {"name": "custom-for-test", "config": {"dim": dim}}

    def forward(self, x):
        return self.ffn(x) + self.noise


@pytest.fixture
def custom(monkeypatch):
    monkeypatch.setitem(builders.BUILDERS._loaded, "custom-for-test", lambda config: Custom(**config))
    model = Custom(6)
    model.noise += 0.125
    return model.eval()


@pytest.mark.parametrize("to", [None, "relu", "swiglu"])
def test_a_model_with_a_builder_of_its_own(custom, to, tmp_path):
    model = surgery.swap(custom, to)[0] if to else custom
    back = round_trip(model, tmp_path)
    same(model, back)
    x = torch.randn(2, 6)
    assert torch.equal(model(x), back(x))
    assert back.gatewise_builder == model.gatewise_builder
    again, _ = surgery.swap(back, "tanh", only="*") if to != "swiglu" else (back, None)
    same(again, round_trip(again, tmp_path / "again"))


def test_a_builder_that_builds_another_model_is_refused(custom, tmp_path):
    custom.gatewise_builder = {"name": "custom-for-test", "config": {"dim": 7}}
    with pytest.raises(GatewiseError, match="cannot be rebuilt"):
        surgery.save(custom, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_change_behind_our_back_is_refused(custom, tmp_path):
    custom.ffn[1] = nn.ReLU()
    with pytest.raises(GatewiseError, match=r"ffn\.1 is .*ReLU.*rebuilt it is .*GELU"):
        surgery.save(custom, tmp_path)


class Unknown(nn.Module):
    def __init__(self):
        super().__init__()
        self.ffn = nn.Linear(2, 2)


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: nn.Sequential(nn.ReLU(), m)])
def test_an_unknown_class_says_what_to_do(wrap, tmp_path):
    with pytest.raises(GatewiseError, match=r"(?s)Unknown.*gatewise_builder"):
        surgery.save(wrap(Unknown()), tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda m: setattr(m, "gatewise_builder", {"name": "nope", "config": {}}), "unknown builder 'nope'"),
        (lambda m: setattr(m, "gatewise_builder", {"name": "modules", "config": {"x": {1, 2}}}), "plain JSON"),
        (lambda m: setattr(m, "gatewise_builder", {"name": "modules"}), "gatewise_builder"),
    ],
)
def test_a_builder_that_cannot_be_is_named(spoil, message, tmp_path):
    model = Unknown()
    spoil(model)
    with pytest.raises(GatewiseError, match=message):
        surgery.save(model, tmp_path)


def test_models_without_data_are_refused(tmp_path):
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(GatewiseError, match="meta device"):
        surgery.save(model, tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GatewiseError, match="cannot write"):
        surgery.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "file")


def test_a_failed_save_leaves_the_old_model(tmp_path, monkeypatch):
    model = nn.Sequential(nn.Linear(2, 2))
    surgery.save(model, tmp_path)

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(GatewiseError, match="No space left"):
        surgery.save(nn.Sequential(nn.Linear(2, 2)), tmp_path)
    monkeypatch.undo()
    same(model, surgery.load(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "recipe.json"}


def test_the_recipe_is_readable_json_without_paths_of_this_machine(tmp_path):
    surgery.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "m")
    text = (tmp_path / "m" / "recipe.json").read_text()
    assert json.loads(text)["schema"] == "gatewise.recipe/1"
    assert str(tmp_path) not in text
