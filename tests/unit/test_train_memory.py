"""Memory of training: what is counted, with a gauge of our own, and really on Linux."""

import subprocess
import sys

import pytest

from gatewise.train import TrainPlan, training_memory
from gatewise.workloads._byte_lm import ByteLMWorkload

SMALL = ByteLMWorkload(dim=16, layers=1, heads=2, context=32, batch=2, heldout_windows=8)


def test_the_level_is_taken_before_the_model_and_steps_are_whole_ones() -> None:
    log: list[str] = []

    class Logged(ByteLMWorkload):
        def fresh(self, arm: str, *, seed: int, matching: str = "params"):
            log.append(f"fresh {arm} {seed} {matching}")
            return super().fresh(arm, seed=seed, matching=matching)

        def train_batch(self, step: int, seed: int, batch: int | None = None):
            log.append(f"batch {step} {batch}")
            return super().train_batch(step, seed, batch)

    def level() -> int:
        log.append("level")
        return 7

    def peak_over(before: int, call) -> tuple[int, str]:
        losses = [call() for _ in range(2)]
        assert all(0 < loss < 20 for loss in losses)
        return before * 3, "a gauge"

    made = Logged(dim=16, layers=1, heads=2, context=32, batch=2, heldout_windows=8)
    plan = TrainPlan(batch=3)
    found = training_memory(
        made, "swiglu", seed=5, plan=plan, matching="none", resident_bytes=level, peak_over=peak_over
    )
    assert found == (21, "a gauge")
    assert log == ["batch 0 3", "level", "fresh swiglu 5 none", "batch 0 3", "batch 1 3"]


PEAK = """
import sys
from gatewise import measure
from gatewise.train import TrainPlan, training_memory
from gatewise.workloads._byte_lm import ByteLMWorkload

made = ByteLMWorkload(dim=int(sys.argv[1]), layers=1, heads=2, context=32, batch=2, heldout_windows=8)
gauges = {"resident_bytes": measure.resident_bytes, "peak_over": measure.peak_over}
print(training_memory(made, "gelu", seed=0, plan=TrainPlan(), **gauges)[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_a_larger_model_takes_at_least_its_weights_gradients_and_moments_more() -> None:
    def peak(dim: int) -> int:
        # In a process of its own, as a study does it: what others have freed would serve this one.
        command = [sys.executable, "-c", PEAK, str(dim)]
        return int(subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout)

    small, large = peak(16), peak(512)
    weights = sum(p.numel() * 4 for p in ByteLMWorkload(dim=512, layers=1).fresh("gelu", seed=0).parameters())
    assert large - small > 3 * weights  # weights, gradients, two moments; what was freed before may serve for some
