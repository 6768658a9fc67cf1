"""Loading a Hugging Face model folder, offline, from safetensors only."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gatewise.core import GatewiseError, unknown_name

from . import _tensors as tensors
from ._report import set_history
from ._safetensors import lint
from .builders import huggingface

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def load_huggingface(directory: str | Path) -> nn.Module:
    """The model of a Hugging Face folder (`config.json` and safetensors), in eval mode, in the dtype of its file.

    `architectures[0]` of the config decides the class; where it names none of transformers, `AutoModel` does. The
    folder's code is never run and nothing is fetched. Weights that the class needs and the folder lacks are started at
    random from seed 0, and the weights state is then `untrained`.

    Raises `GatewiseError` when the config is missing or unreadable, the weights are missing, broken or only pickled,
    and `MissingExtraError` without transformers.
    """
    folder = Path(directory)
    config = _read_json(folder / "config.json")
    huggingface.check_config(config)
    if "quantization_config" in config:
        raise GatewiseError(
            f"{folder}: quantised checkpoints are not supported; save it in float32, float16 or bfloat16"
        )
    for path in _weight_files(folder):
        lint(path)
    transformers = huggingface.transformers_module()
    named = config.get("architectures") or [None]
    cls = huggingface.architecture(str(named[0])) or transformers.AutoModel
    try:
        with huggingface.quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model, info = cls.from_pretrained(
                str(folder.resolve()),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError) as error:
        first = str(error).strip().splitlines()
        raise GatewiseError(
            f"transformers cannot load {folder}: {first[0] if first else type(error).__name__}"
        ) from error
    missing = sorted(str(key) for key in info["missing_keys"])
    model = model.eval()
    tensors.renew(model)
    if missing:
        note = f"started at random, because the folder lacks them: {', '.join(missing)}"
        set_history(model, {"weights_state": "untrained", "edits": [], "surgeries": [{"note": note}]})
    return model


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GatewiseError(
            f"{str(path.parent)!r} has no {path.name}; a Hugging Face model folder needs one"
        ) from error
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise GatewiseError(f"cannot read {path}: {error}") from error
    if not isinstance(data, dict):
        raise GatewiseError(f"{path} is no JSON object")
    return data


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, all of which exist and lie in it."""
    if (folder / _SINGLE).exists():
        return [folder / _SINGLE]
    if (folder / _INDEX).exists():
        shards = _read_json(folder / _INDEX).get("weight_map")
        if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
            raise GatewiseError(f"{folder / _INDEX} has no weight_map")
        names = sorted(set(shards.values()))
        for name in names:
            if Path(name).name != name or "\\" in name:
                raise GatewiseError(f"{_INDEX} names a file outside its folder: {name!r}")
            if not (folder / name).is_file():
                raise GatewiseError(f"the weights {folder / name} are missing")
        return [folder / name for name in names]
    pickled = sorted(path.name for pattern in _PICKLED for path in folder.glob(pattern))
    if pickled:
        raise GatewiseError(
            f"{folder} has pickled weights only ({pickled[0]}); loading them could run code\nconvert them once, "
            "where you trust them: AutoModel.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER) writes safetensors"
        )
    others = [path.name for path in folder.glob("*.safetensors")]
    if others:
        raise unknown_name("weights file", others[0], [_SINGLE, _INDEX])
    raise GatewiseError(f"{folder} has no weights: neither {_SINGLE} nor {_INDEX} is in it")
