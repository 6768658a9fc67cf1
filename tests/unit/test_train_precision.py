"""bfloat16 products over float32 weights: recorded, repeatable, and refused where the processor only imitates them."""

from dataclasses import replace

import pytest
import torch

from gatewise.core import GatewiseError
from gatewise.train import TrainPlan, _precision, step_runner, train_arm
from gatewise.train._precision import check_precision, has_bf16, precision_words
from gatewise.workloads._byte_lm import ByteLMWorkload

SMALL = ByteLMWorkload(dim=16, layers=1, heads=2, context=32, batch=2, heldout_windows=8, heldout_batch=4)
PLAN = TrainPlan(steps=6, eval_every=2)
BF16 = replace(PLAN, precision="bf16")


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor that has bfloat16: torch computes the same products elsewhere, more slowly."""
    monkeypatch.setattr(_precision, "has_bf16", lambda: True)


@pytest.mark.usefixtures("able")
@pytest.mark.parametrize("arm", ["gelu", "swiglu"])
def test_two_runs_are_alike_and_differ_from_float32(arm: str) -> None:
    one, two = (train_arm(SMALL, arm, seed=0, plan=BF16) for _ in range(2))
    full = train_arm(SMALL, arm, seed=0, plan=PLAN)
    assert one.curve == two.curve
    assert one.curve != full.curve
    assert one.data_order_sha256 == full.data_order_sha256
    assert one.final_loss == pytest.approx(full.final_loss, rel=0.02)


@pytest.mark.usefixtures("able")
def test_weights_and_gradients_stay_float32_and_products_do_not() -> None:
    model = SMALL.fresh("gelu", seed=0)
    seen: list[torch.dtype] = []
    model.blocks[0].get_submodule("ffn.up").register_forward_hook(lambda module, inputs, out: seen.append(out.dtype))
    step_runner(SMALL, "gelu", seed=0, plan=BF16, model=model)()
    assert seen == [torch.bfloat16]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert {parameter.grad.dtype for parameter in model.parameters() if parameter.grad is not None} == {torch.float32}
    assert not torch.is_autocast_enabled("cpu")


def test_a_processor_without_it_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_precision, "has_bf16", lambda: False)
    with pytest.raises(GatewiseError, match="precision = bf16 needs a processor") as caught:
        train_arm(SMALL, "gelu", seed=0, plan=BF16)
    assert len(str(caught.value).splitlines()) == 2
    check_precision("f32")


def test_this_processor_is_looked_at() -> None:
    flags = [name for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported") if hasattr(torch.cpu, name)]
    if any(getattr(torch.cpu, name)() for name in flags):
        assert has_bf16()
    assert "float32" in precision_words("bf16") != precision_words("f32")


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(GatewiseError, match="unknown precision 'fp8'"):
        replace(PLAN, precision="fp8")  # pyright: ignore[reportArgumentType]
