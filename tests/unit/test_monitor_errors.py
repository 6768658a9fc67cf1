"""The watch over failures: its false alarms under bursts, and how soon it speaks."""

import numpy as np
import pytest
from scipy.stats import binom

from gatewise.core import GatewiseError
from gatewise.monitor import Record
from gatewise.monitor._errors import ErrorSettings, ErrorWatch

SECOND = 1_000_000_000


def request(at_s: float, status: str = "ok", reason: str | None = None, version: str = "v1") -> Record:
    return Record(
        request="r", at_ns=int(at_s * SECOND), model="m", version=version, digest="d", role="live",
        status=status, reason=reason,  # pyright: ignore[reportArgumentType]
    )  # fmt: skip


def run(statuses, settings: ErrorSettings, per_s: int = 10) -> list[int]:
    watch = ErrorWatch(model="m", version="v1", settings=settings)
    return [n for n, bad in enumerate(statuses) if watch.add(request(n / per_s, "error" if bad else "ok"))]


@pytest.mark.parametrize("burst", [1, 50])
def test_false_alarms_are_rare_whether_failures_come_singly_or_in_bursts(burst):
    """40 streams of 200 blocks at exactly what is allowed; a chance of at most 200 / 1000 = .2 each.

    A burst is of one block here (50 requests a second), as the settings ask for.
    """
    alarms = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        starts = rng.random(200 * 50 // burst) < 0.02
        bad = np.repeat(starts, burst)
        alarms += bool(run(bad, ErrorSettings(allowed=0.02, false_alarm_every=1000), per_s=50))
    assert alarms <= binom.ppf(1 - 1e-4, 40, 0.2)


@pytest.mark.parametrize(("share", "within"), [(1.0, 100), (0.05, 3000), (0.01, 30_000)])
def test_failures_beyond_what_is_allowed_are_found_once(share, within):
    rng = np.random.default_rng(0)
    found = run(np.concatenate([np.zeros(500, bool), rng.random(within) < share]), ErrorSettings())
    assert len(found) == 1
    assert found[0] >= 500


def test_the_callers_faults_and_other_versions_do_not_count():
    watch = ErrorWatch(model="m", version="v1", settings=ErrorSettings(false_alarm_every=100))
    alarms = []
    for n in range(200):
        alarms += watch.add(request(n, "refused", "quota: 5 a second"))
        alarms += watch.add(request(n, "error", version="v2"))
        alarms += watch.add(request(n))
    assert alarms == []
    assert watch.state() == {"failed": 0, "n": 200, "strength": watch.state()["strength"], "alarmed": False}
    assert [watch.add(request(200 + n, "refused", "full: 90 are waiting")) for n in range(20)].count([]) == 19
    assert watch.state()["alarmed"]


@pytest.mark.parametrize("wrong", [{"allowed": 0.0}, {"allowed": 0.5}, {"false_alarm_every": 1}, {"block_s": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(GatewiseError):
        ErrorSettings(**wrong)
