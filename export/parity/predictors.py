"""A common protocol for models that compute logits for texts: bundles in onnxruntime, and torch models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from tokenizers import Encoding, Tokenizer

from compress.data.task_types import TaskTypeName
from compress.models import loading, sources

Precision = Literal["fp32", "fp16", "bf16"]
Tensor = TypeVar("Tensor")


class Predictor(Protocol[Tensor]):
    """A model that computes logits for texts. `runtime.Classifier` implements it for bundles, TorchPredictor for torch.

    `task_type`: the type of its output.
    """

    task_type: TaskTypeName

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Encoding]:
        """Tokenise the texts and truncate them to the model's maximum length."""
        ...

    def model_inputs(self, encodings: Sequence[Encoding]) -> dict[str, Tensor]:
        """The model's inputs by name for one padded batch."""
        ...

    def forward(self, inputs: dict[str, Tensor]) -> np.ndarray:
        """Run the model on `model_inputs`. Returns logits (texts, classes)."""
        ...

    def run(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """Pad one batch and run the model on it. Returns logits (texts, classes)."""
        ...

    def logits(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> np.ndarray:
        """Logits (texts, classes), in the order of the texts."""
        ...


class TorchPredictor:
    """A Hugging Face sequence classifier in torch. It tokenises as a bundle does."""

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str = "cpu",
        precision: Precision = "fp32",
        max_length: int | None = None,
        random_head: bool = False,
        compiled: bool = False,
    ) -> None:
        """Load a model.

        `max_length`: in tokens; by default the number of positions of the model. `random_head`: adds a head with random
        weights, for timing only. `compiled`: uses torch.compile with dynamic shapes; on a GPU with CUDA graphs.
        """
        dtype = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
        self.task_type: TaskTypeName
        model: Any
        if random_head:
            self.task_type = "classification"
            model = loading.load_classifier(str(folder), ("0", "1"), task_type=self.task_type)
        else:
            self.task_type = sources.task_type_of(str(folder))
            model = loading.load_classifier(str(folder))
        self.model = model.to(device=device, dtype=dtype)
        self.compute_logits = self._compute_logits
        if compiled:
            options = {"dynamic": True} if device == "cpu" else {"mode": "reduce-overhead"}
            self.compute_logits = torch.compile(self._compute_logits, **options)
        tokenizer = loading.load_tokenizer(str(folder))
        self.device = device
        self.pad_token_id: int = tokenizer.pad_token_id
        self.takes_token_types = "token_type_ids" in tokenizer.model_input_names
        self.tokenizer: Tokenizer = tokenizer.backend_tokenizer
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(
            max_length or sources.max_tokens(self.model.config.to_dict()), direction=tokenizer.truncation_side
        )

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Encoding]:
        """Tokenise the texts and truncate them to `max_length`."""
        return self.tokenizer.encode_batch(list(texts) if pairs is None else list(zip(texts, pairs, strict=True)))

    def model_inputs(self, encodings: Sequence[Encoding]) -> dict[str, torch.Tensor]:
        """The model's inputs by name, int64 (texts, positions) on its device, padded to the longest text."""
        longest = max(len(encoding) for encoding in encodings)
        rows = {
            "input_ids": [e.ids + [self.pad_token_id] * (longest - len(e)) for e in encodings],
            "attention_mask": [e.attention_mask + [0] * (longest - len(e)) for e in encodings],
        }
        if self.takes_token_types:
            rows["token_type_ids"] = [e.type_ids + [0] * (longest - len(e)) for e in encodings]
        return {name: torch.tensor(values).to(self.device) for name, values in rows.items()}

    def _compute_logits(self, **inputs: torch.Tensor) -> torch.Tensor:
        return self.model(**inputs).logits

    @torch.inference_mode()
    def compute(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Run the model. Returns logits (texts, classes) on its device; a GPU may still be computing them."""
        return self.compute_logits(**inputs)

    def forward(self, inputs: dict[str, torch.Tensor]) -> np.ndarray:
        """Run the model. Returns logits (texts, classes), copied to the CPU."""
        return self.compute(inputs).float().cpu().numpy()

    def run(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """Pad one batch and run the model on it. Returns logits (texts, classes), copied to the CPU."""
        return self.forward(self.model_inputs(encodings))

    def logits(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, batch_size: int = 32) -> np.ndarray:
        """Logits (texts, classes), in the order of the texts."""
        encodings = self.encode(texts, pairs)
        by_length = np.argsort([len(encoding) for encoding in encodings], kind="stable")
        batches = [
            self.run([encodings[index] for index in by_length[start : start + batch_size]])
            for start in range(0, len(encodings), batch_size)
        ]
        return np.concatenate(batches)[np.argsort(by_length, kind="stable")]
