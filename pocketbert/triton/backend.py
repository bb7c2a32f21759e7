"""The Python model that answers for a bundle inside of Triton. `repository` writes it, with the runtime, to model.py.

Triton collects the requests that wait into one call of `execute`, each with one text or several. The runtime of
predict.py then forms the batches of the model, from texts of similar length.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as triton  # type: ignore[import-not-found]

from export.bundle.listed_files import BundleError
from export.bundle.runtime import Classifier, most_probable
from export.bundle.settings import MAX_TEXT_CHARACTERS


@dataclass(frozen=True)
class Tokens:
    """What the model needs of an `Encoding`, which would keep all that truncation removed from a long text."""

    ids: list[int]
    type_ids: list[int]

    def __len__(self) -> int:
        return len(self.ids)


class RemoteClassifier(Classifier):
    """A classifier whose model is another model of the same server, which Triton runs on a GPU."""

    def __init__(self, folder: Path, *, model_name: str) -> None:
        super().__init__(folder, num_threads=1, golden_check=False)
        del self.session  # it has checked the graph; Triton loads its own
        self._model_name = model_name

    @property
    def tokens_per_call(self) -> float:
        """No limit, as for any GPU."""
        return float("inf")

    def forward(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Run the other model. Returns logits (texts, classes)."""
        request = triton.InferenceRequest(
            model_name=self._model_name,
            requested_output_names=["logits"],
            inputs=[triton.Tensor(name, values) for name, values in inputs.items()],
            preferred_memory=triton.PreferredMemory(triton.TRITONSERVER_MEMORY_CPU, 0),
        )
        response = request.exec()
        if response.has_error():
            raise BundleError(f"{self._model_name}: {response.error().message()}")
        logits = triton.get_output_tensor_by_name(response, "logits").as_numpy()
        expected_shape = (len(inputs["input_ids"]), len(self.labels))
        if logits.shape != expected_shape:
            raise BundleError(f"{self._model_name}: got an output of the shape {logits.shape}; not {expected_shape}")
        return logits


class TritonPythonModel:
    """What Triton calls: `initialize` once per instance, then `execute`."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the bundle beside this file. An instance that cannot answer as the bundle should does not start."""
        parameters = json.loads(args["model_config"])["parameters"]
        os.environ.setdefault("RAYON_NUM_THREADS", parameters["threads"]["string_value"])  # of the tokenizer
        folder = Path(args["model_repository"]) / args["model_version"] / "bundle"
        try:
            if "model" in parameters:
                self.classifier: Classifier = RemoteClassifier(folder, model_name=parameters["model"]["string_value"])
            else:
                self.classifier = Classifier(folder, num_threads=int(parameters["threads"]["string_value"]))
        except (BundleError, ValueError) as error:
            raise triton.TritonModelException(str(error)) from None
        self.labels = np.array([label.encode() for label in self.classifier.labels], dtype=np.object_)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response per request. A text that cannot be answered fails its own request only."""
        encoded = [self._tokens(request) for request in requests]
        return [
            triton.InferenceResponse(error=answer)
            if isinstance(answer, triton.TritonError)
            else triton.InferenceResponse(self._outputs(answer))
            for answer in self._logits(encoded)
        ]

    def _tokens(self, request: Any) -> Any:
        """The tokens of the texts of a request, or an error."""
        try:
            pairs = _texts(request, "PAIR") if self.classifier.takes_pairs else None
            encodings = self.classifier.encode(_texts(request, "TEXT"), pairs)
        except BundleError as error:
            return triton.TritonError(str(error), triton.TritonError.INVALID_ARG)
        return [Tokens(encoding.ids, encoding.type_ids) for encoding in encodings]

    def _logits(self, encoded: Sequence[Any]) -> list[Any]:
        """The logits of each request, or an error: from batches over all of them; if one fails, request by request."""
        valid = [each for each in encoded if not isinstance(each, triton.TritonError)]
        try:
            logits = self.classifier.logits_of([tokens for each in valid for tokens in each])
        except BundleError as error:
            if len(valid) > 1:
                return [each if isinstance(each, triton.TritonError) else self._logits([each])[0] for each in encoded]
            parts = iter([triton.TritonError(str(error))])
        else:
            parts = iter(np.split(logits, np.cumsum([len(each) for each in valid])[:-1]))
        return [each if isinstance(each, triton.TritonError) else next(parts) for each in encoded]

    def _outputs(self, logits: np.ndarray) -> list[Any]:
        logits = logits.astype(np.float32)
        answers = self.classifier.answers(logits)
        if self.classifier.task_type == "regression":
            return [triton.Tensor("VALUE", answers), triton.Tensor("LOGITS", logits)]
        best = most_probable(answers, 1)
        return [
            triton.Tensor("LABEL", self.labels[best]),
            triton.Tensor("PROBABILITIES", answers),
            triton.Tensor("LOGITS", logits),
        ]


def _texts(request: Any, name: str) -> list[str]:
    """The texts of an input. Raises BundleError for bytes that are no text, and for more than memory can hold."""
    texts = []
    for index, cell in enumerate(triton.get_input_tensor_by_name(request, name).as_numpy().reshape(-1)):
        try:
            texts.append(cell.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise BundleError(
                f"{name}[{index}]: got a byte that is no UTF-8, at position {error.start}; encode texts as UTF-8"
            ) from None
    num_characters = sum(map(len, texts))
    if num_characters > MAX_TEXT_CHARACTERS:
        raise BundleError(
            f"{name}: got {num_characters:,} characters in one request; expected at most {MAX_TEXT_CHARACTERS:,}; "
            "shorten the texts, or send fewer at once"
        )
    return texts
