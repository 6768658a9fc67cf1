"""recipe.json: what a saved model is, as plain data, and its checks."""

import hashlib
import json
from pathlib import Path
from typing import Any, get_args

from gatewise.core import GatewiseError, unknown_name

from ._report import WeightsState

SCHEMA = "gatewise.recipe/1"
RECIPE = "recipe.json"
WEIGHTS = "model.safetensors"
CONFIG = "config.json"
_KEYS: dict[str, type] = {
    "schema": str,
    "builder": dict,
    "edits": list,
    "surgeries": list,
    "weights_state": str,
    "tensors": dict,
    "weights": dict,
}
_TENSOR_KEYS: dict[str, type] = {"aliases": dict, "views": dict, "layouts": dict, "frozen": list}
_OPTIONAL: dict[str, type] = {"ecosystem": dict, "names": dict}
"""Whether the family's own loader reads the folder; the file's names of tensors that the model calls otherwise."""


def read_recipe(directory: Path) -> dict[str, Any]:
    """The checked recipe of a folder.

    Raises `GatewiseError` when it is no JSON object, of another or a newer schema, lacks a part or has an unknown
    one, or names a weights file outside the folder.
    """
    path = directory / RECIPE
    try:
        recipe = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GatewiseError(f"cannot read {path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise GatewiseError(f"{path} is no valid JSON: {error}") from error
    if not isinstance(recipe, dict):
        raise GatewiseError(f"{path} is no JSON object")
    _check_schema(path, recipe.get("schema"))
    _check_keys(f"{path}", recipe, _KEYS)
    _check_keys(f"{path}, builder", recipe["builder"], {"name": str, "config": dict})
    _check_keys(f"{path}, weights", recipe["weights"], {"file": str, "sha256": str, "size_bytes": int})
    _check_keys(f"{path}, tensors", recipe["tensors"], _TENSOR_KEYS)
    if recipe["weights_state"] not in get_args(WeightsState):
        raise unknown_name("weights state", recipe["weights_state"], get_args(WeightsState))
    return recipe


def weights_path(directory: Path, recipe: dict[str, Any]) -> Path:
    """Where the weights are; inside the folder, whatever the recipe says. Raises `GatewiseError` otherwise."""
    name = recipe["weights"]["file"]
    path = directory / name
    if Path(name).name != name or "\\" in name or path.resolve().parent != directory.resolve():
        raise GatewiseError(f"the recipe names a weights file outside its folder: {name!r}")
    if not path.is_file():
        raise GatewiseError(f"the weights {path} are missing")
    return path


def check_weights(path: Path, recipe: dict[str, Any]) -> None:
    """Compare the weights file with the recipe. Raises `GatewiseError` when size or sha256 differ."""
    size, expected = path.stat().st_size, recipe["weights"]["size_bytes"]
    if size != expected:
        raise GatewiseError(f"{path.name} has {size} bytes, the recipe says {expected}: truncated or another file")
    if file_sha256(path) != recipe["weights"]["sha256"]:
        raise GatewiseError(f"{path.name} is not the file that the recipe was written for (sha256 differs)")


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_schema(path: Path, schema: object) -> None:
    if schema == SCHEMA:
        return
    family, _, version = str(schema).partition("/")
    if family == SCHEMA.partition("/")[0] and version.isdigit() and int(version) > 1:
        raise GatewiseError(f"{path} has the schema {schema!r}, newer than this gatewise reads\nvalid: {SCHEMA}")
    raise GatewiseError(f"{path} has the schema {schema!r}\nvalid: {SCHEMA}")


def _check_keys(where: str, data: dict[str, Any], keys: dict[str, type]) -> None:
    if "tensors" in keys or keys is _TENSOR_KEYS:
        keys = keys | {key: kind for key, kind in _OPTIONAL.items() if key in data}
    for key in data:
        if key not in keys:
            raise unknown_name(f"key in {where}", key, keys)
    for key, kind in keys.items():
        if key not in data:
            raise GatewiseError(f"{where} lacks {key!r}")
        if type(data[key]) is not kind:
            raise GatewiseError(f"{where}: {key!r} must be a {kind.__name__}, not {type(data[key]).__name__}")
