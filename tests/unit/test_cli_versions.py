"""`gatewise register`, `promote`, `rollback` and `versions` on the command line."""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gatewise import surgery
from gatewise.cli import _versions_arguments as arguments
from gatewise.cli._versions import run
from gatewise.core import GatewiseError

COMMANDS = (arguments.register, arguments.promote, arguments.rollback, arguments.versions)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, act in (("good", nn.GELU()), ("tanh", nn.GELU(approximate="tanh"))):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), act, nn.Linear(16, 8)).eval()
        found[name] = str(surgery.save(model, tmp_path_factory.mktemp("models") / name))
    return found


@pytest.fixture
def gatewise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    top = argparse.ArgumentParser()
    commands = top.add_subparsers(dest="command")
    for add in COMMANDS:
        add(commands.add_parser)

    def call(*words: str) -> str:
        assert run(top.parse_args([*words, "--registry", str(tmp_path / "registry")])) == 0
        return capsys.readouterr().out

    return call


def test_register_promote_rollback(gatewise: Any, folders: dict[str, str]) -> None:
    out = gatewise("register", folders["good"], "--as", "encoder", "--version", "v1")
    assert out.startswith("registered: encoder v1 as ")
    assert "gelu at 1 site\n" in out
    assert gatewise("register", folders["good"], "--as", "encoder", "--version", "v1") == out
    gatewise("register", folders["tanh"], "--as", "encoder", "--version", "v2", "--precision", "bfloat16")
    assert gatewise("promote", "encoder", "v1") == "live of encoder is v1 now (revision 1)\n"
    assert gatewise("promote", "encoder", "v1") == "live of encoder is v1 already; nothing moved\n"
    assert gatewise("promote", "encoder", "v2", "--expect", "v1", "--because", "half the memory") == (
        "live of encoder is v2 now, was v1 (revision 2)\n"
    )
    with pytest.raises(GatewiseError, match=r"points at v2 .*not at v1\nnothing was moved"):
        gatewise("promote", "encoder", "v1", "--expect", "v1")
    listed = gatewise("versions", "encoder")
    assert "eager bfloat16 1 thread  gelu_tanh" in listed
    assert ": half the memory" in listed
    assert gatewise("rollback", "encoder") == "live of encoder is v1 now, was v2 (revision 3)\n"
    with pytest.raises(GatewiseError, match="nothing to roll back to"):
        gatewise("rollback", "encoder")
    gatewise("promote", "encoder", "v2", "--to", "shadow")
    assert gatewise("promote", "encoder", "none", "--to", "shadow") == (
        "shadow of encoder is empty now, was v2 (revision 2)\n"
    )


def test_json_is_one_document(gatewise: Any, folders: dict[str, str]) -> None:
    document = json.loads(gatewise("register", folders["good"], "--as", "m", "--version", "v1", "--json"))
    assert document["schema"] == "gatewise.versions/1"
    assert document["registered"]["manifest"]["identity"][0]["identity"] == "gelu"
    assert json.loads(gatewise("promote", "m", "v1", "--json"))["alias"] == {
        "model": "m",
        "alias": "live",
        "version": "v1",
        "revision": 1,
    }
    (model,) = json.loads(gatewise("versions", "--json"))["models"]
    assert model["aliases"]["live"]["version"] == "v1"
    assert [move["after"] for move in model["history"]["live"]] == ["v1"]
    assert model["versions"][0] == document["registered"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["tokens"], "takes KEY=VALUE"),
        (["=1"], "takes KEY=VALUE"),
        (["tokens=1", "tokens=2"], "given twice"),
        (["tokens=many"], "tokens must be a whole number"),
        (["dims=3"], "unknown setting 'dims'"),
    ],
)
def test_settings_that_are_none(gatewise: Any, folders: dict[str, str], settings: list[str], told: str) -> None:
    words = [word for setting in settings for word in ("--set", setting)]
    with pytest.raises(GatewiseError, match=told):
        gatewise("register", folders["good"], "--as", "m", "--version", "v1", *words)


def test_settings_of_a_workload(gatewise: Any) -> None:
    out = gatewise("register", "ffn", "--as", "m", "--version", "v1", "--set", "dim=8", "--set", "tokens=4", "--json")
    assert json.loads(out)["registered"]["manifest"]["inputs"][0]["shape"] == [-1, -1, 8]


def test_no_registry_is_said(gatewise: Any) -> None:
    for words in (("versions",), ("promote", "m", "v1"), ("rollback", "m")):
        with pytest.raises(GatewiseError, match="there is no registry"):
            gatewise(*words)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "is no model folder"),
        ({"config.json": "{}"}, "holds no weights"),
        ({"config.json": "{}", "pytorch_model.bin": ""}, "pytorch_model.bin is a pickle"),
        ({"recipe.json": "{}"}, "holds no weights"),
        ({"recipe.json": "no", "model.safetensors": ""}, "is damaged"),
        ({"config.json": "no", "model.safetensors": ""}, "cannot read .*given/config.json"),
    ],
)
def test_a_folder_without_a_model_is_named_as_it_was_given(
    gatewise: Any, tmp_path: Path, files: dict[str, str], says: str
) -> None:
    (tmp_path / "given").mkdir()
    for name, content in files.items():
        (tmp_path / "given" / name).write_text(content)
    with pytest.raises(GatewiseError, match=says) as found:
        gatewise("register", str(tmp_path / "given"), "--as", "encoder", "--version", "v1")
    assert "objects" not in str(found.value)
    assert len(str(found.value).splitlines()) <= 2
    assert str(tmp_path / "given") in str(found.value)


@pytest.mark.parametrize("target", ["afile", "afile.safetensors"])
def test_a_file_that_is_no_model_is_there_and_is_said_to_be_none(gatewise: Any, tmp_path: Path, target: str) -> None:
    (tmp_path / target).write_text("x")
    with pytest.raises(GatewiseError, match="is a file and no model\nvalid: a folder"):
        gatewise("register", str(tmp_path / target), "--as", "encoder", "--version", "v1")


def test_weights_of_another_model_are_no_model(gatewise: Any, tmp_path: Path, folders: dict[str, str]) -> None:
    """Transformers fills in what is missing at random, and goes on."""
    shutil.copytree(folders["good"], tmp_path / "given")
    (tmp_path / "given" / "recipe.json").unlink()
    config = {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 16, "num_hidden_layers": 1,
              "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 50}  # fmt: skip
    (tmp_path / "given" / "config.json").write_text(json.dumps(config))
    with pytest.raises(GatewiseError, match="holds no weight of the model that config"):
        gatewise("register", str(tmp_path / "given"), "--as", "encoder", "--version", "v1")
