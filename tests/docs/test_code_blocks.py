"""Code blocks of README.md and docs/ are run or parsed, install lines are those of CI, links resolve."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from code_blocks import LANGUAGES, PYTHON, SHELL, Block, blocks, outside_blocks, shell_lines

ROOT = Path(__file__).parents[2]
RUNNER = Path(__file__).with_name("code_blocks.py")
FILE_SECONDS = 900
README_COMMANDS = [
    'pip install -c constraints.txt ".[demo]" && gatewise evaluate',
    'pip install -c constraints.txt -e ".[dev]" && python -m pytest',
]

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EVERY_MARKDOWN = [*DOCUMENTS, ROOT / "CHANGELOG.md"]
BLOCKS = [(path, block) for path in DOCUMENTS for block in blocks(path.read_text(encoding="utf-8"))]


def _named(pairs: list[tuple[Path, Block]]) -> list[object]:
    return [pytest.param(path, block, id=f"{path.relative_to(ROOT)}:{block.line}") for path, block in pairs]


def _in(*languages: str) -> list[object]:
    return _named([(path, block) for path, block in BLOCKS if block.language in languages and block.not_run is None])


def _to_run(path: Path) -> bool:
    """Whether a document has a block that the runner executes."""
    live = [block for source, block in BLOCKS if source == path and block.not_run is None]
    commands = [line for block in live if block.language in SHELL for line in shell_lines(block)]
    return any(block.language in PYTHON for block in live) or any(line.startswith("gatewise ") for line in commands)


@pytest.mark.slow
@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in DOCUMENTS if _to_run(path)])
def test_document_runs(path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(RUNNER), str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=FILE_SECONDS, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_languages_are_known() -> None:
    unknown = [
        f"{path.name}:{block.line}: {block.language!r}" for path, block in BLOCKS if block.language not in LANGUAGES
    ]
    assert unknown == [], f"valid: {sorted(LANGUAGES)}"


def test_every_block_that_is_not_run_says_why() -> None:
    silent = [
        f"{path.name}:{block.line}" for path, block in BLOCKS if block.not_run is not None and len(block.not_run) < 8
    ]
    assert silent == [], "write <!-- not run: REASON --> above the block"


@pytest.mark.parametrize(("path", "block"), _named([pair for pair in BLOCKS if pair[1].not_run is not None]))
def test_block_is_not_run(path: Path, block: Block) -> None:
    # Listed as skipped, so that the end of every test run shows what the documents promise and nothing proves.
    assert path.is_file()
    pytest.skip(f"{block.language} block at {path.name}:{block.line} is not run: {block.not_run}")


@pytest.mark.parametrize(("path", "block"), _in("toml"))
def test_toml_parses(path: Path, block: Block) -> None:
    document = tomllib.loads(block.text)
    assert document, path
    if "study" in document:
        study = pytest.importorskip("gatewise.study")
        assert study.to_plan(document).parts


@pytest.mark.parametrize(("path", "block"), _in("json"))
def test_json_parses(path: Path, block: Block) -> None:
    assert json.loads(block.text) is not None, path


def test_readme_has_the_two_commands() -> None:
    lines = [
        line
        for path, block in BLOCKS
        if path.name == "README.md"
        if block.language in SHELL
        for line in shell_lines(block)
    ]
    assert [line for line in lines if line.startswith("pip ")] == README_COMMANDS


def test_install_lines_are_those_of_ci() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    shown = [
        part.strip()
        for _, block in BLOCKS
        if block.language in SHELL
        for line in shell_lines(block)
        for part in line.split("&&")
    ]
    installs = [part for part in shown if re.match(r"(python3? -m )?pip3? ", part)]
    assert installs, "the README must show how to install"
    assert [line for line in installs if line not in ci] == []
    assert README_COMMANDS[1] in ci


def _anchors(path: Path) -> set[str]:
    titles = [
        line.lstrip("#").strip() for _, line in outside_blocks(path.read_text(encoding="utf-8")) if line.startswith("#")
    ]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(path: Path) -> list[str]:
    """The relative links of a Markdown file whose file or heading does not exist."""
    broken: list[str] = []
    for number, line in outside_blocks(path.read_text(encoding="utf-8")):
        text = re.sub(r"`[^`]*`", "", line)
        targets = re.findall(r"\]\(<?([^)\s>]+)", text) + re.findall(r"^\[[^\]]+\]:\s*(\S+)", text)
        for target in targets:
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            file, _, anchor = target.partition("#")
            destination = (path.parent / file) if file else path
            known = destination.exists() and (
                not anchor or destination.suffix != ".md" or anchor in _anchors(destination)
            )
            if not known:
                broken.append(f"{path.name}:{number}: {target}")
    return broken


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in EVERY_MARKDOWN])
def test_links_resolve(path: Path) -> None:
    assert broken_links(path) == []


# The tools above, on documents that are wrong on purpose.

SAMPLE = """\
# A title

<!-- file: helper_model.py -->
```python
ANSWER = 42
```

```python
from helper_model import ANSWER
```
Some text, and a list:

- item
  ```console
  $ pip --version
  pip 26
  ```

~~~python
assert ANSWER == 42
open("seen", "w").close()
~~~

<!-- not run: needs a GPU that CI has not -->

```bash
gatewise evaluate \\
  --budget 2m
```
"""


def test_blocks_are_read() -> None:
    found = blocks(SAMPLE)
    assert [block.language for block in found] == ["python", "python", "console", "python", "bash"]
    assert found[0].file == "helper_model.py"
    assert list(shell_lines(found[2])) == ["pip --version"]
    assert [block.not_run for block in found] == [None] * 4 + ["needs a GPU that CI has not"]
    assert list(shell_lines(found[4])) == ["gatewise evaluate    --budget 2m"]
    assert [line for _, line in outside_blocks(SAMPLE) if line.startswith(("#", "ANSWER", "gatewise"))] == ["# A title"]


def test_unclosed_block_is_refused() -> None:
    with pytest.raises(ValueError, match="line 3: the code block is never closed"):
        blocks("one\n\n```python\nx = 1\n")


def _run_text(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "page.md").write_text(text, encoding="utf-8")
    command = [sys.executable, "-W", "error", str(RUNNER), "page.md"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_runner_shares_names_and_writes_files(tmp_path: Path) -> None:
    done = _run_text(tmp_path, SAMPLE)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "seen").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text\n\n```python\nx = 1\nassert x == 2\n```\n", 'page.md", line 5'),
        ("```python\nimport warnings\nwarnings.warn('old')\n```\n", "UserWarning: old"),
        ("```bash\ngatewise no-such-command\n```\n", "page.md:1: 'gatewise no-such-command' ended with exit code"),
    ],
    ids=["assertion", "warning", "command"],
)
def test_runner_sees_a_failure(tmp_path: Path, text: str, expected: str) -> None:
    done = _run_text(tmp_path, text)
    assert done.returncode != 0
    assert expected in done.stderr


def test_broken_links_are_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A b\n[ok](#a-b) [ok](page.md) [no](gone.md) [no](#c)\n\n[x]: other.md\n`[code](gone.md)`\n", encoding="utf-8"
    )
    assert broken_links(page) == ["page.md:2: gone.md", "page.md:2: #c", "page.md:4: other.md"]
