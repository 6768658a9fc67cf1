"""Imports point left only. The rules of `import_rules.py` meet the real tree, and trees broken on purpose."""

from pathlib import Path

import pytest
from import_rules import LAYERS, RANK, read_tree, violations

SOURCE = Path(__file__).parents[2] / "src" / "gatewise"

# A small tree that keeps every rule, with each lawful kind of import in it.
GOOD = {
    "__init__.py": "from importlib import import_module\n__version__ = '1'\n",
    "__main__.py": "from gatewise.cli import main\nmain()\n",
    "core/__init__.py": "from ._errors import Oops as Oops\n",
    "core/_errors.py": "class Oops(Exception): ...\n",
    "core/_version.py": "from .. import __version__\nVERSION = __version__\n",
    "activations/__init__.py": "TABLE = {'gelu': '.gelu:SPEC'}\nfrom ._spec import Spec as Spec\n",
    "activations/_spec.py": "import torch\nfrom ..core import Oops\nclass Spec: error = Oops\n",
    "activations/gelu.py": "from ._spec import Spec\nSPEC = Spec()\n",
    "functional.py": "from .activations import Spec as Spec\n",
    "surgery.py": "def swap():\n    from gatewise import activations, core\n    return activations, core\n",
    "measure/__init__.py": "",
    "train/__init__.py": "from importlib import import_module\ncore = import_module('gatewise.core')\n",
    "report.py": "from gatewise.core import Oops\n",
    "cli/__init__.py": "def main():\n    from ..report import Oops\n    raise Oops\n",
    "cli/_table.py": "COMMANDS = {'swap': 'gatewise.surgery:swap'}\n",
}

# What is changed in the good tree, and the rule that must notice it.
BROKEN = {
    "relative import upwards": ("core/_errors.py", "from ..surgery import swap\n", "upward: core imports surgery"),
    "relative import of a package": ("core/_errors.py", "from .. import surgery\n", "upward: core imports surgery"),
    "absolute import upwards": ("activations/_spec.py", "import gatewise.surgery\n", "upward: activations imports"),
    "absolute from-import": ("core/_errors.py", "from gatewise import surgery\n", "upward: core imports surgery"),
    "function-local": ("core/_errors.py", "def f():\n    from ..cli import main\n", "upward: core imports cli"),
    "type checking": (
        "core/_errors.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..surgery import swap\n",
        "upward: core imports surgery",
    ),
    "import_module": (
        "core/_errors.py",
        "import importlib\nm = importlib.import_module('gatewise.surgery')\n",
        "upward: core imports surgery",
    ),
    "import_module, renamed": (
        "core/_errors.py",
        "from importlib import import_module as load\nm = load(name='..surgery', package=__package__)\n",
        "upward: core imports surgery",
    ),
    "__import__": ("core/_errors.py", "m = __import__('gatewise.surgery')\n", "upward: core imports surgery"),
    "lazy table": ("core/_errors.py", "T = {'swap': 'gatewise.surgery:swap'}\n", "upward: core imports surgery"),
    "lazy table, relative": ("core/_errors.py", "T = {'swap': '..surgery:swap'}\n", "upward: core imports surgery"),
    "sibling": ("train/_loop.py", "from ..measure import x\n", "sibling: train imports its sibling measure"),
    "public face from below": ("core/_errors.py", "import gatewise\n", "upward: core imports __init__"),
    "public name from below": ("train/_loop.py", "from .. import swap\n", "upward: train imports __init__"),
    "unlayered package": ("extras/__init__.py", "", "gatewise/extras: unlayered"),
    "package without a face": ("core/shapes/square.py", "", "gatewise/core/shapes: faceless"),
    "unlayered module": ("tricks.py", "", "gatewise/tricks: unlayered"),
    "import of an unlayered name": ("cli/_x.py", "from ..tricks import y\n", "tricks has no layer"),
    "torch in core": ("core/_errors.py", "import torch.nn\n", "forbidden: core must not import torch"),
    "torch in core, hidden": ("core/_errors.py", "def f():\n    from torch import nn\n", "forbidden: core must not"),
    "report beyond core": ("report.py", "from .surgery import swap\n", "narrow: report imports surgery"),
    "functional beyond activations": ("functional.py", "from .core import Oops\n", "narrow: functional imports core"),
    "cycle": ("activations/_spec.py", "from .gelu import SPEC\n", "cycle: gatewise.activations._spec -> gatewise"),
    "cycle through the face": ("core/_errors.py", "from . import Oops\n", "cycle: gatewise.core -> gatewise.core._err"),
    "private module": ("surgery.py", "from gatewise.core._errors import Oops\n", "private: surgery reaches into core"),
    "private module, by name": ("surgery.py", "from .core import _errors\n", "private: surgery reaches into core"),
    "private name": ("surgery.py", "from .activations.gelu import _table\n", "private: surgery reaches into activ"),
    "private module, plain import": ("surgery.py", "import gatewise.core._errors\n", "private: surgery reaches into"),
}


def _plant(folder: Path, files: dict[str, str]) -> Path:
    root = folder / "gatewise"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_real_tree_keeps_the_rules() -> None:
    assert violations(SOURCE) == []


def test_real_tree_was_read() -> None:
    modules = read_tree(SOURCE)
    assert {"gatewise", "gatewise.core"} <= {module.name for module in modules}
    assert any(edge.target.startswith("gatewise.core.") for module in modules for edge in module.edges)


def test_every_name_has_one_layer() -> None:
    assert len(RANK) == sum(len(names) for names in LAYERS)


def test_good_tree_passes(tmp_path: Path) -> None:
    assert violations(_plant(tmp_path, GOOD)) == []


@pytest.mark.parametrize("case", BROKEN)
def test_broken_tree_is_caught(tmp_path: Path, case: str) -> None:
    path, text, expected = BROKEN[case]
    found = violations(_plant(tmp_path, GOOD | {path: text}))
    assert any(expected in problem for problem in found), found
