"""The public names are pinned, each resolves, and importing the package stays light."""

import importlib
import json
import subprocess
import sys

import pytest

import gatewise

# Changing this list changes the product's promise: say so in CHANGELOG.md.
PUBLIC = [
    "Comparison",
    "FeedForward",
    "GatewiseError",
    "Linear",
    "Plan",
    "SequentialComparison",
    "Spec",
    "SurgeryReport",
    "__version__",
    "compare",
    "evaluate",
    "find_sites",
    "functional",
    "load",
    "save",
    "specs",
    "swap",
]
HEAVY = {"torch", "numpy", "scipy", "transformers", "safetensors", "rich", "jinja2", "pandas", "sklearn"}


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter holds after running `code`."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_public_names_are_pinned() -> None:
    assert sorted(gatewise.__all__) == PUBLIC
    assert len(set(gatewise.__all__)) == len(gatewise.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_resolves(name: str) -> None:
    value = getattr(gatewise, name)
    assert value is not None
    assert getattr(gatewise, name) is value
    assert name in dir(gatewise)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        importlib.import_module("gatewise").no_such_name  # noqa: B018


def test_import_is_light() -> None:
    loaded = modules_after("import gatewise")
    assert "gatewise" in loaded
    assert HEAVY & loaded == set()


def test_listing_the_names_is_light() -> None:
    assert HEAVY & modules_after("import gatewise\nassert dir(gatewise)") == set()


def test_heavy_modules_would_be_seen() -> None:
    assert "numpy" in modules_after("import numpy")
