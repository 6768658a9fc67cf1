"""The workloads by name, and how a plan's subject becomes one."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, Registry

from ._options import with_options
from ._workload import Workload

WORKLOADS: Registry[Callable[..., Workload]] = Registry(
    "workload",
    group="workloads",
    package=__package__ or "",
    table={
        "sentence-encoder": "._encoder:SentenceEncoder",
        "byte-lm": "._byte_lm:ByteLMWorkload",
        "ffn": "._ffn:FeedForwardWorkload",
        "operator": "._operator:OperatorWorkload",
        "levels": "._levels:LevelsWorkload",
        "causal-lm": "._causal_lm:CausalLMWorkload",
        "convnet": "._images:ConvNetWorkload",
        "vit": "._images:ViTWorkload",
        "mnist-5k": "._mlps:MNISTWorkload",
        "digits": "._mlps:DigitsWorkload",
        "wordnet": "._wordnet:WordNetWorkload",
        "forecaster": "._forecaster:ForecasterWorkload",
    },
)


def workload(
    *,
    name: str = "",
    model: str = "",
    data: str = "",
    text: str = "",
    target: str = "",
    options: Mapping[str, Any] | None = None,
) -> Workload:
    """The workload of a plan's subject: one of the table, a folder, or `package.module:function`.

    `options` set fields of a workload of the table, such as `{"dim": 96}` of `byte-lm`, or of one's own class. What
    `package.module:name` names is a function that returns a model (see `FunctionModel`) or a subclass of `Workload`.

    Raises:
        GatewiseError: unknown names and options, folders without a model, files of a kind that is not read.
    """
    if name:
        return with_options(name, WORKLOADS[name], options or {})
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", model) and not Path(model).is_dir():
        if data:
            raise GatewiseError("data in the plan goes with a folder; package.module:function returns its own data")
        from ._function import FunctionModel
        from ._own import own_workload

        made = own_workload(model, options or {})
        if made is not None:
            return made
        if not options:
            return FunctionModel(model)
    if options:
        raise GatewiseError("options go with a workload of the table, not with a model of your own")
    path = Path(model)
    if path.is_dir():
        from ._encoder import TextModel

        return TextModel(path, data=data, text=text, target=target)
    if path.suffix == ".onnx" and path.exists():
        raise GatewiseError("ONNX files cannot be evaluated yet; give the PyTorch model they came from")
    if path.suffix in (".bin", ".pt", ".pth", ".pkl"):
        raise GatewiseError(
            f"{model} is a pickle; gatewise never loads pickles. Save it as safetensors with its config"
        )
    raise GatewiseError(
        f"no model {model!r}: give a workload ({', '.join(WORKLOADS)}), a model folder, or package.module:function"
    )
