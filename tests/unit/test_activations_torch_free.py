"""The table of activations and its float64 references work where torch is not installed."""

import subprocess
import sys

import pytest

# A finder that stands in front of all others: torch is not there, as on a machine without it.
BLOCKED = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, Without())
"""


def without_torch(code: str) -> str:
    """What a fresh interpreter prints that cannot import torch."""
    command = [sys.executable, "-W", "error", "-c", BLOCKED + code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_torch_is_really_away() -> None:
    code = "try:\n    import torch\nexcept ModuleNotFoundError as error:\n    print(error.name)"
    assert without_torch(code).strip() == "torch"


def test_every_reference_and_derivative_is_computed() -> None:
    code = """
import numpy as np
from gatewise import activations
from gatewise.activations import matched_hidden, names, specs
x = np.linspace(-3.0, 3.0, 13)
for spec in specs():
    inputs = (x,) if spec.kind == "scalar" else (x, x + 1.0)
    assert np.isfinite(spec.reference(*inputs)).all()
    assert all(np.isfinite(part).all() for part in spec.gradients(*inputs))
assert matched_hidden(8, 32) == 21
print(len(specs()), *names("gate"))
"""
    assert without_torch(code).split() == [
        *("22", "glu", "bilinear", "reglu", "geglu", "geglu_tanh", "swiglu", "swiglu_clamped")
    ]


def test_graphs_are_read_without_torch() -> None:
    code = "from gatewise import graphs\nprint(graphs.identify_scalar(lambda inputs: inputs[0].clip(0)).name)"
    assert without_torch(code).strip() == "relu"


@pytest.mark.parametrize("name", ["gelu", "identify", "measure_error", "FeedForward", "Activation"])
def test_what_needs_torch_says_so(name: str) -> None:
    code = f"""
from gatewise import activations
assert {name!r} in dir(activations)
try:
    activations.{name}
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert without_torch(code).strip() == "torch"


def test_with_torch_every_listed_name_is_there() -> None:
    code = """
from gatewise import activations
assert "torch" not in sys.modules, "importing the table brings torch"
missing = [name for name in dir(activations) if not hasattr(activations, name)]
assert callable(activations.get("gelu").torch)
print(missing)
"""
    done = subprocess.run(
        [sys.executable, "-c", "import sys" + code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    from gatewise import activations

    with pytest.raises(AttributeError, match="no_such_name"):
        _ = activations.no_such_name  # type: ignore[attr-defined]
