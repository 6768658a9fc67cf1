"""Opens whatever is to be inspected; torch is imported only where a live model is asked for."""

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError, MissingExtraError
from gatewise.graphs import Constant, Graph, read_onnx, read_openvino

from ._arrays import Arrays
from ._opened import VALID, Observe, Opened, Watch

if TYPE_CHECKING:
    from torch import nn


FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
FILE_FUNCTION = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".pt2", ".joblib")


def open_target(target: "str | Path | nn.Module", inputs: object = None) -> Opened:
    """The model behind a name, a path or a live module.

    Raises:
        GatewiseError: there is no such model, or it is a pickle.
    """
    if not isinstance(target, (str, Path)):
        return _live().open_module(target, inputs)
    text = str(target)
    if not text.strip() or "\0" in text:
        raise GatewiseError(f"a model's name is empty\nvalid: {VALID}")
    path = Path(text)
    if path.is_dir():
        return _open_folder(path)
    suffix = path.suffix.lower()
    if suffix in (".onnx", ".xml", ".safetensors", *PICKLES):
        return _open_file(path, suffix)
    in_file = FILE_FUNCTION.fullmatch(text)
    if in_file is not None:
        return _live().open_file_function(Path(in_file["file"]), in_file["name"])
    return _live().open_workload(text, is_function=FUNCTION.fullmatch(text) is not None)


def _live() -> Any:
    try:
        import_module("torch")
    except ImportError as error:
        raise GatewiseError(
            "torch is not installed, so a live model cannot be inspected\n"
            "without it: a model folder, or a .onnx, .xml (OpenVINO) or .safetensors file"
        ) from error
    return import_module("._live", __package__)


def _open_folder(path: Path) -> Opened:
    from ._declared import declared

    if not any((path / name).is_file() for name in ("recipe.json", "config.json")):
        raise GatewiseError(f"{str(path)!r} is no model folder: neither recipe.json nor config.json is in it")
    try:
        import_module("torch")
    except ImportError:
        return declared(path, "torch is not installed")
    try:
        return _live().open_folder(path)
    except MissingExtraError as error:
        return declared(path, f"{error.package} is not installed")


def _open_file(path: Path, suffix: str) -> Opened:
    if suffix in PICKLES:
        kind = "a TorchScript or export archive or a pickle" if suffix in (".pt", ".pt2") else "a pickle"
        raise GatewiseError(
            f"{path} is {kind}; loading it could run code, so gatewise never does. Save it as safetensors with its "
            "config, or load it in a function of yours and give package.module:function"
        )
    if not path.is_file():
        raise GatewiseError(f"there is no file {str(path)!r}")
    if suffix == ".safetensors":
        folder = path.resolve().parent
        if not any((folder / name).is_file() for name in ("recipe.json", "config.json")):
            raise GatewiseError(
                f"{path} holds weights only; which functions stand between them says the recipe.json or config.json "
                "beside it, and there is none"
            )
        return _open_folder(path.parent)
    graph = read_onnx(path) if suffix == ".onnx" else read_openvino(path)
    return Opened(
        source=str(path),
        format=graph.format,
        facts={key: value for key, value in graph.facts.items() if key != "folded"},
        weights=file_weights(graph),
        graph=graph,
        observe=_runner(path) if suffix == ".onnx" else None,
    )


def _runner(path: Path) -> Observe:
    def observe(arrays: Arrays | None, watch: Mapping[str, Watch]) -> str:
        from ._onnx_data import observe_onnx

        return observe_onnx(path, arrays or {}, watch)

    return observe


def file_weights(graph: Graph) -> dict[str, Constant]:
    """The tensors of a file that are weights: fractions, or 8 bits and less; no shapes, no single numbers."""
    kept = ("float", "bfloat", "double", "int8", "uint8", "int4", "uint4", "int2", "uint2")
    return {
        name: constant
        for name, constant in graph.constants.items()
        if constant.size > 1 and constant.dtype.startswith(kept)
    }
