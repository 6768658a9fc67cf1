"""What can be registered: a folder, a workload, a function's model, or an ONNX or OpenVINO file."""

import re
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor, nn

Inputs = Any
Run = Callable[["nn.Module", Inputs], "Tensor"]
FILES = (".onnx", ".xml")
FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
KEPT = (".safetensors", ".json", ".txt", ".model")
"""Of a model folder, what is copied: weights, configs, vocabularies. No pickles and no code."""
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
VALID = (
    "valid: a folder with config.json or recipe.json beside model.safetensors, an .onnx or .xml file, a workload's name"
)
TEXT, MODULE, WORKLOAD, FILE = "text", "module", "workload", "file"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model to register.

    Attributes:
        kind: how it is called: `text` (ids and mask), `module` (as it is), `workload` (as the workload does), `file`.
        name: of the workload, or of the file in the object; else "".
        stage: writes its files to a folder, cast to a dtype where one is given.
        inputs: inputs for one call of so many items and tokens; None for what follows from the files.
    """

    kind: str
    name: str = ""
    stage: Callable[[Path, str], None]
    inputs: Callable[[int, int], Inputs] | None = field(default=None)


def source_of(target: str, options: Mapping[str, Any]) -> Source:
    """The model behind a name or a path.

    Raises:
        GatewiseError: there is no such model; options for something that takes none; a pickle.
    """
    path = Path(target)
    if not target.strip() or "\0" in target:
        raise GatewiseError("a model's name is empty")
    if options and (path.exists() or FUNCTION.fullmatch(target)):
        raise unknown_name("setting", next(iter(options)), ("tokens", "calibration"))
    if path.is_dir():
        return Source(kind=_kind_of(path), stage=lambda folder, dtype: _stage_folder(path, folder, dtype))
    if path.suffix.lower() in FILES:
        if not path.is_file():
            raise GatewiseError(f"there is no file {target!r}")
        return Source(kind=FILE, name=path.name, stage=lambda folder, dtype: _stage_file(path, folder, dtype))
    from gatewise.workloads import WORKLOADS, workload

    if FUNCTION.fullmatch(target):
        found = workload(model=target)
        return Source(
            kind=MODULE,
            stage=lambda folder, dtype: _stage_model(found.original(), folder, dtype),
            inputs=lambda items, tokens: found.inputs(items, tokens, items),
        )
    if target not in WORKLOADS:
        if path.suffix in PICKLES:
            raise GatewiseError(f"{target} is a pickle, and loading it could run code; save it as safetensors")
        if path.exists():
            raise GatewiseError(f"{target!r} is a file and no model\n{VALID}")
        if path.suffix or "/" in target:
            raise GatewiseError(f"there is no folder or file {target!r}\n{VALID}")
        raise GatewiseError(
            f"{unknown_name('model', target, WORKLOADS)}, or a model's folder, and there is none of this name"
        )
    made = workload(name=target, options=options)
    folder_of_it = getattr(made, "folder", None)
    if isinstance(folder_of_it, Path):
        return Source(kind=TEXT, stage=lambda folder, dtype: _stage_folder(folder_of_it, folder, dtype))
    return Source(
        kind=WORKLOAD,
        name=target,
        stage=lambda folder, dtype: _stage_model(made.original(), folder, dtype),
        inputs=lambda items, tokens: made.inputs(items, tokens, items),
    )


def opened(kind: str, name: str, folder: Path) -> "tuple[nn.Module, Run]":
    """A staged model and the way it is called. Nothing in the folder is executed and nothing is unpickled."""
    from gatewise import surgery
    from gatewise.workloads import workload

    if kind == TEXT:
        text = workload(model=str(folder))
        return text.original().eval(), text.run
    model = surgery.load(folder).eval()
    return model, workload(name=name).run if kind == WORKLOAD else run_module


def run_module(model: "nn.Module", inputs: Inputs) -> "Tensor":
    """A call as it stands: a tensor, a tuple of arguments, or a dict of keywords; the first tensor that comes out."""
    from torch import Tensor

    if isinstance(inputs, dict):
        output = model(**inputs)
    else:
        output = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    for name in ("logits", "last_hidden_state"):
        output = getattr(output, name, output)
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.dim() < 1:
        raise GatewiseError(f"the model returns {type(output).__name__}, not a tensor with one row per item")
    return output


def fitting_inputs(folder: Path, kind: str, items: int, tokens: int) -> Inputs:
    """Inputs for a staged folder that brought none: texts, or random numbers of the shape that its first layer takes.

    Raises:
        GatewiseError: nothing says what the model takes.
    """
    if kind == TEXT:
        from gatewise.workloads import workload

        return workload(model=str(folder)).inputs(items, tokens, items)
    import torch
    from torch import nn

    from gatewise import activations, surgery

    generator = torch.Generator().manual_seed(items)
    for module in surgery.load(folder).modules():
        own = next(module.parameters(recurse=False), None)
        dtype = own.dtype if own is not None else torch.float32
        if isinstance(module, nn.Embedding):
            return torch.randint(module.num_embeddings, (items, tokens), generator=generator)
        shape: tuple[int, ...] | None = None
        if isinstance(module, nn.Linear):
            shape = (module.in_features,)
        elif isinstance(module, nn.MultiheadAttention):
            shape = (tokens, module.embed_dim)
        elif isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            shape = (module.in_channels, *([32] * len(module.kernel_size)))
        elif isinstance(module, (activations.FeedForward, activations.GatedUnit)):
            first = next(module.parameters())
            shape, dtype = (first.shape[-1],), first.dtype
        if shape is not None:
            return torch.randn(items, *shape, generator=generator).to(dtype)
    raise GatewiseError("nothing says what this model takes; give package.module:function, which returns inputs too")


def _kind_of(folder: Path) -> str:
    recipe = folder / "recipe.json"
    if not recipe.is_file():
        if not (folder / "config.json").is_file():
            raise GatewiseError(
                f"{str(folder)!r} is no model folder: neither recipe.json nor config.json is in it\n{VALID}"
            )
        _check_weights(folder)
        return TEXT
    import json

    _check_weights(folder)
    try:
        builder = json.loads(recipe.read_text(encoding="utf-8"))["builder"]["name"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise GatewiseError(f"{recipe} is damaged: {error}") from error
    return TEXT if builder == "huggingface" else MODULE


def _check_weights(folder: Path) -> None:
    if any((folder / name).is_file() for name in WEIGHTS):
        return
    pickled = next((each.name for each in sorted(folder.iterdir()) if each.suffix in PICKLES), None)
    why = f"; {pickled} is a pickle, and loading it could run code: save it as safetensors" if pickled else ""
    raise GatewiseError(f"{str(folder)!r} holds no weights: neither {' nor '.join(WEIGHTS)} is in it{why}")


def untrained(kind: str, folder: Path) -> list[str]:
    """A note where a model's weights, or some of them, are not in its files: it computes, and means nothing.

    Raises:
        GatewiseError: none of them is; then the files are of another model than the configuration.
    """
    from gatewise import surgery

    if kind == FILE:
        return []
    model = surgery.load(folder)
    if surgery.weights_state(model) != "untrained":
        return []
    if kind == TEXT:
        from safetensors import safe_open

        held: set[str] = set()
        for path in folder.glob("*.safetensors"):
            with safe_open(path, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
                held |= set(file.keys())  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
        names = [name for name, _ in model.named_parameters()]
        if not any(f".{name}".endswith(f".{key}") or f".{key}".endswith(f".{name}") for name in names for key in held):
            raise GatewiseError(
                f"{folder}: model.safetensors holds no weight of the model that config.json describes\n"
                f"it wants {names[0]!r} and others; the file has {', '.join(sorted(held)[:3]) or 'none'}"
            )
    return ["its weights are untrained: some or all of them started at random"]


@contextmanager
def called(staged: Path, target: str) -> Generator[None]:
    """Errors in here name the model as it was given, and not the copy of it that nobody sees."""
    try:
        yield
    except GatewiseError as error:
        if type(error) is not GatewiseError or str(staged) not in str(error):
            raise
        raise GatewiseError(str(error).replace(str(staged), target.rstrip("/"))) from error


def _stage_folder(path: Path, folder: Path, dtype: str) -> None:
    folder.mkdir(parents=True)
    for file in sorted(path.iterdir()):
        if file.suffix in KEPT and file.is_file() and not file.name.endswith("lock.json"):
            shutil.copyfile(file, folder / file.name)
    if dtype:
        from gatewise import surgery

        model = surgery.load(folder)
        for weights in (*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json")):
            weights.unlink()
        _stage_model(model, folder, dtype)


def _stage_model(model: "nn.Module", folder: Path, dtype: str) -> None:
    import torch

    from gatewise import surgery

    surgery.save(model.to(getattr(torch, dtype)) if dtype else model, folder)


def _stage_file(path: Path, folder: Path, dtype: str) -> None:
    if dtype:
        raise GatewiseError(
            f"{path.name} has the precision that it was exported with; --precision is for PyTorch models"
        )
    folder.mkdir(parents=True)
    shutil.copyfile(path, folder / path.name)
    if path.suffix.lower() == ".xml":
        if not path.with_suffix(".bin").is_file():
            raise GatewiseError(f"the weights {path.with_suffix('.bin')} are missing")
        shutil.copyfile(path.with_suffix(".bin"), folder / f"{path.stem}.bin")
        return
    for name in _beside(path):
        shutil.copyfile(path.parent / name, folder / name)


def _beside(path: Path) -> list[str]:
    """The files with weights that an ONNX file refers to, all of them in its own folder."""
    import onnx

    names: set[str] = set()
    try:
        held = onnx.load(str(path), load_external_data=False).graph.initializer
    except Exception:  # noqa: BLE001  protobuf's own kinds of errors have no class in common
        raise GatewiseError(f"{path} is no ONNX file, or a damaged one") from None
    for tensor in held:
        names |= {entry.value for entry in tensor.external_data if entry.key == "location"}
    for name in names:
        if Path(name).name != name or not (path.parent / name).is_file():
            raise GatewiseError(f"{path.name} refers to the weights {name!r}, which are not beside it")
    return sorted(names)
