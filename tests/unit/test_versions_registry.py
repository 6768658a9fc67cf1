"""Labels, aliases and their history: what is written never changes, and a lost race is said."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.core import GatewiseError
from gatewise.versions import ALIASES, Registry, Version
from gatewise.versions._objects import differences
from gatewise.versions._rows import Move, before_rollback


def version(label: str, digest: str = "", model: str = "encoder", threads: int = 1) -> Version:
    return Version(
        model=model,
        version=label,
        digest=digest or f"{abs(hash(label)):064x}"[-64:],
        threads=threads,
        registered="2026-05-01T00:00:00+00:00",
        by="ada",
        manifest={"content": {}},
    )


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    made = Registry(tmp_path / "registry", create=True)
    for label in ("v1", "v2", "v3"):
        made.add(version(label))
    return made


def test_a_new_registry_has_nothing(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "new", create=True)
    assert registry.models() == []
    with pytest.raises(GatewiseError, match="unknown model 'encoder'"):
        registry.versions("encoder")


def test_the_same_version_again_is_the_first_one_and_another_one_is_refused(registry: Registry) -> None:
    assert registry.add(version("v1")) == registry.version("encoder", "v1")
    with pytest.raises(GatewiseError, match=r"encoder v1 is registered with other content[\s\S]*another label"):
        registry.add(version("v1", digest="f" * 64))
    with pytest.raises(GatewiseError, match="threads=1, not 2"):
        registry.add(version("v1", threads=2))
    assert [each.version for each in registry.versions("encoder")] == ["v1", "v2", "v3"]


def test_a_version_is_found_by_label_alias_and_digest(registry: Registry) -> None:
    registry.promote("encoder", "v2")
    wanted = registry.version("encoder", "v2")
    assert wanted == registry.version("encoder") == registry.version("encoder", wanted.digest)
    with pytest.raises(GatewiseError, match=r"unknown version of encoder 'v9'[\s\S]*valid: v1, v2, v3"):
        registry.version("encoder", "v9")
    with pytest.raises(GatewiseError, match="canary points at no version"):
        registry.version("encoder", "canary")


def test_promotions_and_rollbacks_are_a_stack_with_a_full_history(registry: Registry) -> None:
    for label in ("v1", "v2", "v3"):
        registry.promote("encoder", label, because=f"for {label}", by="ada")
    assert registry.rollback("encoder", because="slower", by="bob").version == "v2"
    assert registry.rollback("encoder").version == "v1"
    with pytest.raises(GatewiseError, match="nothing to roll back to: 'v1' is the first"):
        registry.rollback("encoder")
    registry.promote("encoder", "v3")
    assert registry.rollback("encoder").version == "v1"
    moves = registry.history("encoder")
    assert [(move.before, move.after, move.kind) for move in moves] == [
        (None, "v1", "promote"),
        ("v1", "v2", "promote"),
        ("v2", "v3", "promote"),
        ("v3", "v2", "rollback"),
        ("v2", "v1", "rollback"),
        ("v1", "v3", "promote"),
        ("v3", "v1", "rollback"),
    ]
    assert [move.revision for move in moves] == list(range(1, 8))
    assert (moves[3].because, moves[3].by, moves[1].because) == ("slower", "bob", "for v2")


def test_what_was_expected_must_be_so(registry: Registry) -> None:
    registry.promote("encoder", "v1", expect="none")
    with pytest.raises(
        GatewiseError, match=r"live of encoder points at v1 \(revision 1, moved by .*not at v2\nnothing"
    ):
        registry.promote("encoder", "v3", expect="v2")
    with pytest.raises(GatewiseError, match="not at none"):
        registry.promote("encoder", "v3", expect="none")
    with pytest.raises(GatewiseError, match="not at v2"):
        registry.rollback("encoder", expect="v2")
    assert registry.alias("encoder").version == "v1"
    assert len(registry.history("encoder")) == 1


def test_moving_to_where_it_is_moves_nothing(registry: Registry) -> None:
    first = registry.promote("encoder", "v1")
    assert registry.promote("encoder", "v1") == first
    assert len(registry.history("encoder")) == 1


def test_shadow_and_canary_can_be_emptied_and_live_cannot(registry: Registry) -> None:
    registry.promote("encoder", "v2", "canary")
    assert registry.promote("encoder", "none", "canary").version is None
    assert registry.rollback("encoder", "canary").version == "v2"
    with pytest.raises(GatewiseError, match="always points at a version"):
        registry.promote("encoder", "none")
    assert {name: alias.version for name, alias in registry.aliases("encoder").items()} == {
        "live": None,
        "shadow": None,
        "canary": "v2",
    }


def test_an_alias_can_take_over_from_another(registry: Registry) -> None:
    registry.promote("encoder", "v3", "canary")
    assert registry.promote("encoder", "canary").version == "v3"


@pytest.mark.parametrize("name", ["", ".", "a b", "-x", "a/b", "../x", "x" * 65, "v\n", "ü"])
def test_names_that_do_not_fit_a_url_are_refused(registry: Registry, name: str) -> None:
    with pytest.raises(GatewiseError, match="is no name of a"):
        registry.add(version(name, digest="0" * 64))
    with pytest.raises(GatewiseError, match="is no name of a"):
        registry.add(version("v1", model=name, digest="0" * 64))


@pytest.mark.parametrize("name", [*ALIASES, "none", "0" * 64])
def test_labels_that_mean_something_else_are_refused(registry: Registry, name: str) -> None:
    with pytest.raises(GatewiseError, match="that is the name of something else"):
        registry.add(version(name, digest="0" * 64))


def test_unknown_aliases_and_models_name_the_nearest(registry: Registry) -> None:
    with pytest.raises(GatewiseError, match="did you mean 'shadow'"):
        registry.promote("encoder", "v1", "shadows")
    with pytest.raises(GatewiseError, match="did you mean 'encoder'"):
        registry.promote("encodr", "v1")


def test_what_is_no_registry_is_said(tmp_path: Path) -> None:
    with pytest.raises(GatewiseError, match="gatewise register makes one"):
        Registry(tmp_path / "nowhere")
    (tmp_path / "registry.sqlite").write_bytes(b"something else " * 400)
    with pytest.raises(GatewiseError, match="this file is not a registry"):
        Registry(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with sqlite3.connect(other / "registry.sqlite") as database:
        database.execute("CREATE TABLE birds (name TEXT)")
    database.close()
    with pytest.raises(GatewiseError, match="a database of something else"):
        Registry(other)
    newer = Registry(tmp_path / "newer", create=True)
    with sqlite3.connect(newer.path) as database:
        database.execute("PRAGMA user_version=9")
    database.close()
    with pytest.raises(GatewiseError, match="newer gatewise"):
        Registry(tmp_path / "newer")


@given(st.lists(st.one_of(st.integers(0, 4), st.none()), max_size=30))
def test_rolling_back_is_popping(asked: list[int | None]) -> None:
    """None asks for a rollback. A model that is a plain list must agree after every step."""
    moves: list[Move] = []
    stack: list[str | None] = []

    def move(after: str | None, kind: str) -> None:
        before = moves[-1].after if moves else None
        place = {"model": "m", "alias": "canary", "revision": len(moves) + 1, "before": before, "after": after}
        moves.append(Move(**place, kind=kind, at="", by="", because=""))

    for one in asked:
        if one is not None:
            stack.append(f"v{one}")
            move(f"v{one}", "promote")
        elif len(stack) > 1:
            stack.pop()
            move(stack[-1], "rollback")
        assert before_rollback(moves) == ((stack[-2],) if len(stack) > 1 else None)


_RACER = """
import sys
from gatewise.core import GatewiseError
from gatewise.versions import Registry

folder, me = sys.argv[1:]
registry = Registry(folder, create=True)
won = lost = 0
for turn in range(25):
    now = registry.alias("encoder").version
    other = f"v{me}{turn % 2}"
    try:
        registry.promote("encoder", other, expect=now or "none", by=me, because=str(turn))
        won += 1
    except GatewiseError as error:
        if "nothing was moved" not in str(error):
            raise
        lost += 1
print(won, lost)
"""


def test_racing_promotions_win_or_get_the_clear_error_and_leave_no_gap(tmp_path: Path) -> None:
    folder = tmp_path / "registry"
    registry = Registry(folder, create=True)
    for label in [f"v{racer}{turn}" for racer in range(4) for turn in range(2)]:
        registry.add(version(label))
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER, str(folder), str(me)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for me in range(4)
    ]
    counts: list[tuple[int, int]] = []
    for racer in racers:
        out, err = racer.communicate(timeout=120)
        assert racer.returncode == 0, err.decode()
        won, lost = out.split()
        counts.append((int(won), int(lost)))
    assert [won + lost for won, lost in counts] == [25] * 4
    moves = registry.history("encoder")
    assert len(moves) == sum(won for won, _ in counts)
    assert [move.revision for move in moves] == list(range(1, len(moves) + 1))
    assert [move.before for move in moves[1:]] == [move.after for move in moves[:-1]]
    assert registry.alias("encoder").version == moves[-1].after
    for me, (won, _) in enumerate(counts):
        assert len([move for move in moves if move.by == str(me)]) == won


def test_processes_that_make_one_registry_at_once_all_get_it(tmp_path: Path) -> None:
    code = "import sys; from gatewise.versions import Registry; print(Registry(sys.argv[1], create=True).models())"
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "new")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(6)
    ]
    for maker in makers:
        out, err = maker.communicate(timeout=120)
        assert (maker.returncode, out.strip()) == (0, b"[]"), err.decode()


_KILLED = """
import os, signal, sys
from pathlib import Path
from gatewise.versions import Registry, Version
from gatewise.versions import _objects as objects

folder, fatal = Path(sys.argv[1]), int(sys.argv[2])
calls = 0
sync, rename, write = objects._sync, Path.rename, Path.write_text

def step():
    global calls
    calls += 1
    if calls == fatal:
        os.kill(os.getpid(), signal.SIGKILL)

def counted(real):
    def call(*args, **kwargs):
        step()
        try:
            return real(*args, **kwargs)
        finally:
            step()
    return call

objects._sync, Path.rename, Path.write_text = counted(sync), counted(rename), counted(write)
registry = Registry(folder, create=True)
place = folder / "objects"
with objects.staged(place) as staged:
    (staged / "model").mkdir()
    (staged / "model" / "weights").write_bytes(b"0" * 100_000)
    files = objects.file_hashes(staged)
    manifest = {"files": files, "content": {}}
    digest = objects.digest_of(manifest)
    objects.publish(staged, place, digest, manifest)
step()
row = dict(model="encoder", version="v1", digest=digest, threads=1, registered="now", by="ada", manifest=manifest)
registry.add(Version(**row))
print(calls)
"""


def _register_dying_at(folder: Path, step: int) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-c", _KILLED, str(folder), str(step)], capture_output=True, timeout=120, check=False
    )


def test_a_registration_that_is_killed_leaves_nothing_visible(tmp_path: Path) -> None:
    steps = int(_register_dying_at(tmp_path / "whole", 0).stdout)
    assert steps > 8
    for step in range(1, steps + 1, 2):
        folder = tmp_path / str(step)
        died = _register_dying_at(folder, step)
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()
        assert Registry(folder).models() == []
        done = _register_dying_at(folder, 0)
        assert done.returncode == 0, done.stderr.decode()
        (kept,) = Registry(folder).versions("encoder")
        assert differences(Registry(folder).object(kept.digest), kept.manifest["files"]) == []


def test_what_a_killed_process_left_is_swept_when_it_is_old(tmp_path: Path) -> None:
    from gatewise.versions._objects import staged

    old, new = tmp_path / ".new-old", tmp_path / ".new-new"
    old.mkdir()
    new.mkdir()
    os.utime(old, (1.0, 1.0))
    with staged(tmp_path):
        assert (old.exists(), new.exists()) == (False, True)


def test_importing_brings_no_torch() -> None:
    code = "import sys, gatewise.versions; print(sorted({'torch', 'numpy', 'scipy', 'onnx'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert "torch" not in done.stdout
