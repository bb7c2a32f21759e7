"""CTranslate2: its encoder with int8 weights. It has no classification head, which numpy computes."""

import functools
from collections.abc import Sequence
from pathlib import Path

import ctranslate2  # type: ignore[import-not-found]
import numpy as np

from bench.peers import common
from bench.peers.common import Job
from bench.timing.messages import ModelFacts

HEAD = "classifier.npz"


class CTranslate2Session:
    """An encoder with one worker that has all threads, and the classification head over its pooler."""

    input_names: Sequence[str] = ("input_ids", "attention_mask", "token_type_ids")

    def __init__(self, folder: Path, num_threads: int, settings: dict[str, str]) -> None:
        self.encoder = ctranslate2.Encoder(
            str(folder),
            device="cpu",
            compute_type=settings["compute_type"],
            inter_threads=1,
            intra_threads=num_threads,
        )
        with np.load(folder / HEAD) as head:
            self.weight, self.bias = head["weight"], head["bias"]
        self.facts = ModelFacts(
            num_threads=num_threads,
            num_streams=self.encoder.num_encoders,
            ran_on=f"{self.encoder.device}, {self.encoder.compute_type}",
        )

    def forward(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Run the model. Returns logits (texts, classes)."""
        lengths = inputs["attention_mask"].sum(axis=1)
        ids, lengths_view = (
            ctranslate2.StorageView.from_array(np.ascontiguousarray(array, dtype=np.int32))
            for array in (inputs["input_ids"], lengths)
        )
        types = [row[:length] for row, length in zip(inputs["token_type_ids"].tolist(), lengths, strict=True)]
        pooled = np.array(self.encoder.forward_batch(ids, lengths_view, types).pooler_output)
        return pooled @ self.weight.T + self.bias


load_predictor = functools.partial(common.PeerPredictor, session=CTranslate2Session)


def _int8(job: Job, folder: Path) -> dict[str, str]:
    """Convert the encoder. CTranslate2 quantises activations at run time, with a scale per token."""
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(job.model)
    if model.config.model_type != "bert":
        raise RuntimeError(f"got a {model.config.model_type}; this version converts encoders of BERT only")
    converted = job.scratch / "ctranslate2"
    converter = ctranslate2.converters.TransformersConverter(str(job.model))
    converter.convert(str(converted), quantization="int8")
    for file in converted.iterdir():
        file.rename(folder / file.name)
    head = model.classifier
    np.savez(folder / HEAD, weight=head.weight.detach().numpy(), bias=head.bias.detach().numpy())
    return {"compute_type": "int8"}


if __name__ == "__main__":
    common.run_conversion("CTranslate2", {"CTranslate2 int8": _int8}, ("ctranslate2", "torch", "transformers"))
