"""What `gatewise serve` takes, and how it follows a registry."""

import argparse
from dataclasses import dataclass
from typing import Any

import pytest
from serve_calls import function

from gatewise import serve, versions
from gatewise.cli import _serve, _serve_arguments, _serve_settings
from gatewise.core import GatewiseError


def parsed(*words: str) -> argparse.Namespace:
    top = argparse.ArgumentParser()
    _serve_arguments.serve(top.add_subparsers(dest="command").add_parser)
    return top.parse_args(["serve", *words])


def test_the_defaults_are_safe() -> None:
    found = parsed("encoder")
    assert (found.host, found.port, found.registry) == ("127.0.0.1", 8080, "gatewise-registry")
    assert (_serve_settings.share("--canary", found.canary), _serve_settings.share("--shadow", found.shadow)) == (
        0.05,
        0.5,
    )


@pytest.mark.parametrize(("text", "value"), [("5%", 0.05), ("0.05", 0.05), ("100%", 1.0), ("0", 0.0)])
def test_a_share(text: str, value: float) -> None:
    assert _serve_settings.share("--canary", text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["5", "101%", "-1%", "some", "nan", ""])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(GatewiseError, match="--canary"):
        _serve_settings.share("--canary", text)


def test_a_plan_in_words() -> None:
    plan = _serve_settings.resources({"threads": "2", "threads.v2": "1", "memory.v2": "500MiB", "memory": "1gb"})
    assert plan.share("v2") == serve.Share(threads=1, memory_bytes=500 << 20)
    assert plan.share("v1") == serve.Share(threads=2, memory_bytes=10**9)


@pytest.mark.parametrize("given", [{"threads": "0"}, {"threads": "many"}, {"memory": "5"}, {"memory.v1": "-5MB"}])
def test_what_is_no_plan(given: dict[str, str]) -> None:
    with pytest.raises(GatewiseError):
        _serve_settings.resources(given)


@dataclass
class Alias:
    version: str | None


class Registry:
    """The aliases of one model; loading makes a function of the version's label."""

    def __init__(self, **aliases: str | None) -> None:
        self.now: dict[str, str | None] = {"live": None, "canary": None, "shadow": None, **aliases}
        self.loaded: list[tuple[str, int | None]] = []

    def aliases(self, model: str) -> dict[str, Alias]:
        return {name: Alias(label) for name, label in self.now.items()}

    def versions(self, model: str) -> list[str]:
        return ["v1", "v2"]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    found = Registry(live="v1")

    def load(_: Any, model: str, label: str, *, threads: int | None = None) -> serve.Function:
        if label == "bad":
            raise GatewiseError("bad is refused: it does not compute what was registered")
        found.loaded.append((label, threads))
        return function(lambda x: x, label, model)

    monkeypatch.setattr(versions, "load", load)
    return found


def test_aliases_are_followed_and_only_what_is_new_is_loaded(registry: Registry) -> None:
    follower = serve.Follower(registry, "m", shares=serve.Shares(), plan=serve.ResourcePlan())  # pyright: ignore
    application = serve.app([follower.routes])
    assert not follower.refresh(application)
    registry.now |= {"shadow": "v2"}
    assert follower.refresh(application)
    routes = application.deployments["m"].routes
    assert routes.shadow is not None
    assert (routes.live.version, routes.shadow.version, routes.shadow_share) == ("v1", "v2", 0.5)
    registry.now |= {"live": "v2", "shadow": None}
    assert follower.refresh(application)
    assert application.deployments["m"].routes.live is routes.shadow
    assert registry.loaded == [("v1", 1), ("v2", 1), ("v1", 1)]  # the last one is the copy beside the shadow


def test_a_shadow_of_the_live_version_is_a_second_copy(registry: Registry) -> None:
    registry.now["shadow"] = "v1"
    follower = serve.Follower(registry, "m", shares=serve.Shares(), plan=serve.ResourcePlan())  # pyright: ignore
    assert follower.routes.shadow is not None
    assert follower.routes.shadow is not follower.routes.live


def test_a_version_that_cannot_be_loaded_changes_nothing(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    follower = serve.Follower(registry, "m", shares=serve.Shares(), plan=serve.ResourcePlan())  # pyright: ignore
    application = serve.app([follower.routes])
    registry.now["live"] = "bad"
    for _ in range(3):
        assert not follower.refresh(application)
    assert application.deployments["m"].routes.live.version == "v1"
    assert capsys.readouterr().err.count("is refused") == 1
    registry.now["live"] = "v1"
    follower.refresh(application)
    assert follower.problem is None


def test_a_canary_that_is_refused_does_not_hold_up_live(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    registry.now["canary"] = "bad"
    follower = serve.Follower(registry, "m", shares=serve.Shares(), plan=serve.ResourcePlan())  # pyright: ignore
    assert (follower.routes.live.version, follower.routes.canary) == ("v1", None)
    application = serve.app([follower.routes])
    registry.now["live"] = "v2"
    assert follower.refresh(application)
    routes = application.deployments["m"].routes
    assert (routes.live.version, routes.canary) == ("v2", None)
    for _ in range(3):
        assert not follower.refresh(application)
    assert "bad is refused" in str(follower.problem)
    assert capsys.readouterr().err.count("bad is refused") == 1
    registry.now["canary"] = "v1"
    assert follower.refresh(application)
    canary = application.deployments["m"].routes.canary
    assert (canary and canary.version, follower.problem) == ("v1", None)


def test_nothing_live_is_said_before_anything_listens(registry: Registry) -> None:
    registry.now["live"] = None
    with pytest.raises(GatewiseError, match="gatewise promote m"):
        serve.Follower(registry, "m", shares=serve.Shares(), plan=serve.ResourcePlan())  # pyright: ignore


def test_every_setting_has_its_place() -> None:
    given = (
        "max_batch=4 judge.one_in=year judge.requests_per_s=20 log.content=none drift.window=200 errors.allowed=0.01 "
        "health.every=4 rollback=latency,errors rollback.cool_down_s=60 reference=a.json reference.v2=b.json "
        "learn_reference=2000 price_per_hour=0.5 cores=3 webhook=https://example.com/x health=false threads.v2=2"
    )
    found = _serve_settings.asked(given.split())
    assert found.parts["serve"] == {"max_batch": 4}
    assert found.parts["judge"] == {"one_in": "year", "requests_per_s": 20.0}
    assert (found.parts["drift"], found.parts["errors"]) == ({"window": 200}, {"allowed": 0.01})
    assert (found.rollback_on, found.parts["rollback"]) == (("latency", "errors"), {"cool_down_s": 60.0})
    assert (found.references, found.learn_reference) == ({"": "a.json", "v2": "b.json"}, 2000)
    assert found.machine == {"cores": 3, "price_per_hour": 0.5}
    assert (found.health, found.webhook, found.plan) == (False, "https://example.com/x", {"threads.v2": "2"})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("rollback=drift", "kind of alarm"),
        ("max_bach=4", "did you mean 'max_batch'"),
        (
            "foo=1",
            r"judge\. \(judge\.alpha\), log\..*drift\..*errors\..*health\..*rollback\. \(rollback\.cool_down_s\)",
        ),
        ("alpha=1e-4", "did you mean 'judge.alpha'"),
        ("judge=1", "with a prefix"),
        ("jugde.alpha=1", "did you mean 'judge.alpha'"),
        ("judge.folder=x", "unknown setting"),
        ("drift.windw=4", "did you mean 'drift.window'"),
        ("health=perhaps", "true or false"),
        ("cores=two", "takes a number"),
        ("webhook", "KEY=VALUE"),
    ],
)
def test_what_is_no_setting(given: str, says: str) -> None:
    with pytest.raises(GatewiseError, match=says):
        _serve_settings.asked([given])


@pytest.mark.parametrize(
    ("text", "size"), [("1TiB", 1 << 40), ("1.5 tb", 15 * 10**11), ("2kB", 2000), ("64MiB", 1 << 26)]
)
def test_a_size(text: str, size: int) -> None:
    assert _serve_settings.resources({"memory": text}).share("v1").memory_bytes == size


@pytest.mark.parametrize("text", ["5", "1PiB", "TiB", "9" * 400 + "B", "1e3MB"])
def test_what_is_no_size_names_the_units(text: str) -> None:
    with pytest.raises(GatewiseError, match="units: KiB, MiB, GiB, TiB, kB, MB, GB, TB, B"):
        _serve_settings.resources({"memory": text})


def test_what_is_said_of_a_version_that_no_alias_points_at() -> None:
    found = _serve_settings.asked(["threads=1", "threads.v1=1", "threads.v2=1", "memory.v9=1GB", "reference.v9=a.json"])
    assert _serve_settings.unused(found, "m", ["v1", "v2"], ["v1", None]) == [
        "--set threads.v2: no alias of m points at v2 now; it counts once one does",
        "--set memory.v9: m has no version 'v9' (it has: v1, v2)",
        "--set reference.v9: m has no version 'v9' (it has: v1, v2)",
    ]


def test_an_alias_that_is_not_followed_is_told(registry: Registry) -> None:
    follower = serve.Follower(registry, "m", shares=serve.Shares(), plan=serve.ResourcePlan())  # pyright: ignore
    application = serve.app([follower.routes])
    assert _serve.followed(registry, follower, application) == {("m", "live", "v1"): True}
    registry.now["canary"] = "bad"
    follower.refresh(application)
    assert _serve.followed(registry, follower, application) == {
        ("m", "live", "v1"): True,
        ("m", "canary", "bad"): False,
    }
    registry.now["canary"] = None
    follower.refresh(application)
    assert _serve.followed(registry, follower, application) == {("m", "live", "v1"): True}
