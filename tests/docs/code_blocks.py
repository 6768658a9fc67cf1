"""Reads the fenced code blocks of a Markdown file and runs them in order, as a reader would.

    python -W error tests/docs/code_blocks.py README.md

Python blocks of one file share one namespace, `gatewise` lines of shell blocks run as commands, both in the current
folder.
Two HTML comments right above a block change what happens to it:

- `<!-- not run: REASON -->`: the block is only checked for its language; the reason is mandatory.
- `<!-- file: NAME -->`: the block is written to that file instead, for the blocks after it.
"""

import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PYTHON = {"python"}
SHELL = {"bash", "sh", "console"}
LANGUAGES = PYTHON | SHELL | {"toml", "json", "text"}
COMMAND_SECONDS = 240

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}) *(?P<language>[^\s`]*)[^`]*$")
_COMMENT = re.compile(r"<!--\s*(?P<key>not run|file)\s*:?\s*(?P<value>.*?)\s*-->")


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block. `line` is the line of its opening fence, counted from 1."""

    line: int
    language: str
    text: str
    not_run: str | None = None
    file: str | None = None


def blocks(markdown: str) -> list[Block]:
    """The fenced blocks of a Markdown text, in order. Raises `ValueError` for a fence that is never closed."""
    found: list[Block] = []
    lines = markdown.splitlines()
    marks: dict[str, str] = {}
    number = 0
    while number < len(lines):
        comment, fence = _COMMENT.fullmatch(lines[number].strip()), _FENCE.match(lines[number])
        if comment is not None:
            marks[comment["key"]] = comment["value"]
        elif fence is not None:
            end = _closing(lines, number, fence["fence"])
            body = [line.removeprefix(fence["indent"]) for line in lines[number + 1 : end]]
            text = "".join(f"{line}\n" for line in body)
            mark = {key.replace(" ", "_"): value for key, value in marks.items()}
            found.append(Block(line=number + 1, language=fence["language"], text=text, **mark))
            number, marks = end, {}
        elif lines[number].strip():
            marks = {}
        number += 1
    return found


def _closing(lines: list[str], start: int, fence: str) -> int:
    for number in range(start + 1, len(lines)):
        stripped = lines[number].strip()
        if len(stripped) >= len(fence) and set(stripped) == {fence[0]}:
            return number
    raise ValueError(f"line {start + 1}: the code block is never closed")


def outside_blocks(markdown: str) -> list[tuple[int, str]]:
    """The numbered lines that stand in no fenced block."""
    inside: set[int] = set()
    for block in blocks(markdown):
        inside |= set(range(block.line, block.line + block.text.count("\n") + 2))
    return [(number, line) for number, line in enumerate(markdown.splitlines(), 1) if number not in inside]


def shell_lines(block: Block) -> Iterator[str]:
    """The commands of a shell block, without prompts, continued lines joined; a console block's output is left out."""
    joined = block.text.replace("\\\n", " ")
    for line in joined.splitlines():
        command = line.strip().removeprefix("$ ")
        if block.language == "console" and not line.strip().startswith("$ "):
            continue
        if command and not command.startswith("#"):
            yield command


def run(path: Path) -> None:
    """Run the blocks of one file in this process, in the current folder. Raises what a block raises."""
    namespace = types.ModuleType("__main__")
    sys.modules["__main__"] = namespace
    sys.path.insert(0, os.getcwd())
    for block in blocks(path.read_text(encoding="utf-8")):
        if block.not_run is not None:
            continue
        if block.file is not None:
            Path(block.file).write_text(block.text, encoding="utf-8")
        elif block.language in PYTHON:
            # Empty lines before the code make a traceback name the line of the Markdown file.
            code = compile("\n" * block.line + block.text, str(path), "exec")
            exec(code, namespace.__dict__)
        elif block.language in SHELL:
            for command in shell_lines(block):
                if command.startswith("gatewise "):
                    _run_command(f"{path.name}:{block.line}", command)


def _run_command(where: str, command: str) -> None:
    print(f"{where}: $ {command}", flush=True)
    scripts = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = os.environ | {"PATH": scripts, "HF_HUB_OFFLINE": "1"}
    shell = ["bash", "-ec", command]
    done = subprocess.run(shell, env=environment, timeout=COMMAND_SECONDS, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SystemExit(f"{where}: {command!r} ended with exit code {done.returncode}")


if __name__ == "__main__":
    run(Path(sys.argv[1]).resolve())
