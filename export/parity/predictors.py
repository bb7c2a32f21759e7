"""One protocol for everything that answers texts with logits: a bundle in onnxruntime, or a torch model."""

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
    """Anything that answers a batch. `runtime.Classifier` is one for bundles, TorchPredictor for torch.

    `task_type`: what it answers with.
    """

    task_type: TaskTypeName

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Encoding]:
        """Tokenise, cut to the model's limit."""
        ...

    def columns(self, encodings: Sequence[Encoding]) -> dict[str, Tensor]:
        """What the model takes for one padded batch."""
        ...

    def forward(self, columns: dict[str, Tensor]) -> np.ndarray:
        """One call of the model: (texts, classes) logits."""
        ...

    def run(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """One call of the model on one padded batch: (texts, classes) logits."""
        ...

    def logits(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> np.ndarray:
        """(texts, classes) logits, in the order of the texts."""
        ...


class TorchPredictor:
    """A Hugging Face sequence classifier in torch, with the same tokenisation as a bundle's."""

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
        """`max_length` in tokens; by default all that the model has positions for. `random_head`: for timing alone.

        `compiled`: by torch.compile for any shape; on a GPU as CUDA graphs.
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
            how = {"dynamic": True} if device == "cpu" else {"mode": "reduce-overhead"}
            self.compute_logits = torch.compile(self._compute_logits, **how)
        tokenizer = loading.load_tokenizer(str(folder))
        self.device = device
        self.pad_token_id: int = tokenizer.pad_token_id
        self.takes_token_types = "token_type_ids" in tokenizer.model_input_names
        self.tokenizer: Tokenizer = tokenizer.backend_tokenizer
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length or sources.max_tokens(self.model.config.to_dict()))

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Encoding]:
        """Tokenise, cut to `max_length`."""
        return self.tokenizer.encode_batch(list(texts) if pairs is None else list(zip(texts, pairs, strict=True)))

    def columns(self, encodings: Sequence[Encoding]) -> dict[str, torch.Tensor]:
        """The model's inputs, int64 (texts, positions) on its device, padded to the longest text."""
        longest = max(len(encoding) for encoding in encodings)
        columns = {
            "input_ids": [e.ids + [self.pad_token_id] * (longest - len(e)) for e in encodings],
            "attention_mask": [e.attention_mask + [0] * (longest - len(e)) for e in encodings],
        }
        if self.takes_token_types:
            columns["token_type_ids"] = [e.type_ids + [0] * (longest - len(e)) for e in encodings]
        return {name: torch.tensor(rows).to(self.device) for name, rows in columns.items()}

    def _compute_logits(self, **columns: torch.Tensor) -> torch.Tensor:
        return self.model(**columns).logits

    @torch.inference_mode()
    def compute(self, columns: dict[str, torch.Tensor]) -> torch.Tensor:
        """One call of the model: (texts, classes) logits where they were computed; of a GPU's, perhaps not yet done."""
        return self.compute_logits(**columns)

    def forward(self, columns: dict[str, torch.Tensor]) -> np.ndarray:
        """One call of the model: (texts, classes) logits; on a GPU, the copy back included."""
        return self.compute(columns).float().cpu().numpy()

    def run(self, encodings: Sequence[Encoding]) -> np.ndarray:
        """One call of the model on one padded batch; on a GPU, copies to and from it included."""
        return self.forward(self.columns(encodings))

    def logits(self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, batch_size: int = 32) -> np.ndarray:
        """(texts, classes) logits, in the order of the texts."""
        encodings = self.encode(texts, pairs)
        by_length = np.argsort([len(encoding) for encoding in encodings], kind="stable")
        parts = [
            self.run([encodings[index] for index in by_length[start : start + batch_size]])
            for start in range(0, len(encodings), batch_size)
        ]
        return np.concatenate(parts)[np.argsort(by_length, kind="stable")]
