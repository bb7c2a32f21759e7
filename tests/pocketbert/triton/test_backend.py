"""The model.py of a Triton repository, executed with a stand-in for Triton's module; `tests.triton` runs the real one.

The stand-in holds what Triton passes: BYTES as arrays of bytes, and errors as responses of their own.
"""

import importlib.util
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import BertForSequenceClassification

from export.bundle.listed_files import BundleError
from export.bundle.runtime import Classifier
from pocketbert.triton.repository import TritonRequest, write_repository
from tiny_bert import config, rows, write_csv
from tiny_bundles import build_fp32_bundle, build_pair_bundle

TEXTS = [text for text, _ in rows(40, seed=3)]


@dataclass
class Tensor:
    name: str
    values: np.ndarray

    def as_numpy(self) -> np.ndarray:
        return self.values


class TritonError:
    INVALID_ARG, INTERNAL = "invalid", "internal"

    def __init__(self, message: str, code: str = INTERNAL) -> None:
        self.text, self.code = message, code

    def message(self) -> str:
        return self.text


class InferenceResponse:
    def __init__(self, output_tensors: Sequence[Tensor] = (), error: TritonError | None = None) -> None:
        self.output_tensors, self._error = output_tensors, error

    def has_error(self) -> bool:
        return self._error is not None

    def error(self) -> TritonError | None:
        return self._error


class TritonModelException(Exception):  # noqa: N818 (Triton's name)
    pass


class Server:
    """Triton with one Python model. `remote`: what answers the model's requests to another model."""

    def __init__(self, models: Path, name: str, monkeypatch: pytest.MonkeyPatch, remote=None) -> None:
        stand_in = ModuleType("triton_python_backend_utils")
        found = {
            "Tensor": Tensor,
            "TritonError": TritonError,
            "InferenceResponse": InferenceResponse,
            "TritonModelException": TritonModelException,
            "get_input_tensor_by_name": lambda request, name: request[name],
            "get_output_tensor_by_name": lambda response, name: next(
                each for each in response.output_tensors if each.name == name
            ),
            "InferenceRequest": lambda **request: SimpleNamespace(exec=lambda: remote(**request)),
            "PreferredMemory": lambda *place: place,
            "TRITONSERVER_MEMORY_CPU": 0,
        }
        for key, value in found.items():
            setattr(stand_in, key, value)
        monkeypatch.setitem(sys.modules, "triton_python_backend_utils", stand_in)
        monkeypatch.setenv("RAYON_NUM_THREADS", "1")
        spec = importlib.util.spec_from_file_location(f"model_of_{name}", models / name / "1" / "model.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        parameters = {"threads": {"string_value": "1"}, **({"model": {"string_value": "other"}} if remote else {})}
        self.module, self.model = module, module.TritonPythonModel()
        self.model.initialize(
            {
                "model_config": json.dumps({"parameters": parameters}),
                "model_repository": str(models / name),
                "model_version": "1",
            }
        )

    def ask(self, *requests: list[str | bytes], pairs: list[list[str]] | None = None) -> list:
        """The outputs by name of each request, or its error."""
        sent = []
        for index, texts in enumerate(requests):
            sent.append({"TEXT": self._input("TEXT", texts)})
            if pairs is not None:
                sent[-1]["PAIR"] = self._input("PAIR", pairs[index])
        return [
            response.error() or {each.name: each.values for each in response.output_tensors}
            for response in self.model.execute(sent)
        ]

    @staticmethod
    def _input(name: str, texts: list[str | bytes]) -> Tensor:
        cells = [text if isinstance(text, bytes) else text.encode() for text in texts]
        return Tensor(name, np.array(cells, dtype=np.object_).reshape(-1, 1))


def write(bundle: Path, output: Path, **options) -> Path:
    """The models/ folder for one bundle, which is the model `tiny`."""
    write_repository([bundle], TritonRequest(names=["tiny"], **options), output=output, console=Console(quiet=True))
    return output / "models"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, teacher_folder, reviews) -> Path:
    """Of a model that gives each label to about half of the texts."""
    root = tmp_path_factory.mktemp("bundles")
    first = Classifier(build_fp32_bundle(root / "first", teacher_folder, reviews, ["text"]), num_threads=1)
    margins = np.diff(first.logits(TEXTS))[:, 0]
    model = BertForSequenceClassification.from_pretrained(teacher_folder)
    with torch.no_grad():
        model.classifier.bias[1] -= float(np.median(margins))
    model.save_pretrained(root / "model")
    shutil.copyfile(teacher_folder / "tokenizer.json", root / "model" / "tokenizer.json")
    shutil.copyfile(teacher_folder / "tokenizer_config.json", root / "model" / "tokenizer_config.json")
    return build_fp32_bundle(root, root / "model", reviews, ["text"])


@pytest.fixture(scope="module")
def models(bundle, tmp_path_factory) -> Path:
    return write(bundle, tmp_path_factory.mktemp("out"))


@pytest.fixture
def server(models, monkeypatch) -> Server:
    return Server(models, "tiny", monkeypatch)


def test_the_answers_are_those_of_predict_alone_and_together(bundle, server):
    classifier = Classifier(bundle, num_threads=1)
    logits = classifier.logits(TEXTS)
    probabilities = classifier.answers(logits)
    labels = [str(each["label"]).encode() for each in classifier.predict(TEXTS)]
    assert len(set(labels)) == 2
    together = server.ask(*[[text] for text in TEXTS])
    alone = [server.ask([text])[0] for text in TEXTS]
    (in_one,) = server.ask(TEXTS)
    for answers in (together, alone, [{name: each[i : i + 1] for name, each in in_one.items()} for i in range(40)]):
        assert [each["LABEL"].item() for each in answers] == labels
        np.testing.assert_allclose(np.concatenate([each["LOGITS"] for each in answers]), logits, atol=1e-5)
        np.testing.assert_allclose(
            np.concatenate([each["PROBABILITIES"] for each in answers]), probabilities, atol=1e-6
        )
    assert in_one["LABEL"].shape == (40, 1) and in_one["PROBABILITIES"].dtype == np.float32


def test_a_wrong_text_fails_its_own_request_only(server):
    good, invalid, too_long, mixed, last = server.ask(
        [TEXTS[0]], [b"caf\xe9"], ["x" * 1_000_000] * 3, [TEXTS[1], b"\xff"], TEXTS[2:5]
    )
    assert good["LABEL"].shape == (1, 1) and last["LABEL"].shape == (3, 1)
    assert invalid.text == "TEXT[0]: got a byte that is no UTF-8, at position 3; encode texts as UTF-8"
    assert too_long.text.startswith(
        "TEXT: got 3,000,000 characters in one request; expected at most 2,000,000"
    ) and mixed.text.startswith("TEXT[1]: ")
    assert {each.code for each in (invalid, too_long, mixed)} == {TritonError.INVALID_ARG}
    (error,) = server.ask([b"\xff"])  # without any valid request
    assert error.text.startswith("TEXT[0]: ")


def test_a_text_that_the_model_cannot_answer_fails_its_own_request_only(server):
    """The model fails on batches with one text, as if its logits were not finite."""
    bad, logits_of = TEXTS[7], server.model.classifier.logits_of
    (ids,) = server.model.classifier.encode([bad])

    def failing(encodings):
        if any(each.ids == ids.ids for each in encodings):
            raise server.module.BundleError("texts[0]: the model computes [nan]; expected finite numbers")
        return logits_of(encodings)

    server.model.classifier.logits_of = failing
    answers = server.ask(*[[text] for text in TEXTS])
    assert [index for index, each in enumerate(answers) if isinstance(each, TritonError)] == [7]
    assert "finite numbers" in answers[7].text and answers[7].code == TritonError.INTERNAL
    assert "finite numbers" in server.ask([bad])[0].text


def test_pairs_and_values(tmp_path, teacher_folder, tokenizer, monkeypatch):
    (tmp_path / "pairs").mkdir()
    pairs = build_pair_bundle(tmp_path / "pairs", teacher_folder)
    server = Server(write(pairs, tmp_path / "of-pairs"), "tiny", monkeypatch)
    second = [text[::-1] for text in TEXTS]
    expected = Classifier(pairs, num_threads=1).predict(TEXTS, second)
    answers = server.ask(*[[text] for text in TEXTS], pairs=[[text] for text in second])
    assert [each["LABEL"].item().decode() for each in answers] == [each["label"] for each in expected]

    torch.manual_seed(0)
    model = tmp_path / "model"
    BertForSequenceClassification(config(id2label={0: "score"}, label2id={"score": 0})).save_pretrained(model)
    tokenizer.save_pretrained(model)
    table = write_csv(tmp_path / "values.csv", ("text", "label"), [(text, f"{i}") for i, text in enumerate(TEXTS)])
    values = build_fp32_bundle(tmp_path / "values", model, table, ["text"], task_type="regression")
    server = Server(write(values, tmp_path / "of-values"), "tiny", monkeypatch)
    (answer,) = server.ask(TEXTS)
    assert set(answer) == {"VALUE", "LOGITS"}
    assert [round(float(value), 5) for value in answer["VALUE"][:, 0]] == pytest.approx(
        [each["score"] for each in Classifier(values, num_threads=1).predict(TEXTS)], abs=1e-5
    )
    assert not (tmp_path / "of-values" / "models" / "tiny" / "labels.txt").exists()


def test_a_damaged_bundle_does_not_start(bundle, tmp_path, monkeypatch):
    models = write(bundle, tmp_path)
    with (models / "tiny" / "1" / "bundle" / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(TritonModelException, match=r"tokenizer\.json: changed since the bundle was written"):
        Server(models, "tiny", monkeypatch)


def test_on_a_gpu_the_other_model_computes_the_logits(bundle, tmp_path, monkeypatch):
    """The other model is onnxruntime here. It gets batches of texts of similar length, and its error is an answer."""
    models, local, batches = write(bundle, tmp_path, gpu=True), Classifier(bundle, num_threads=1), []

    def remote(*, model_name, requested_output_names, inputs, preferred_memory):
        assert (model_name, requested_output_names, preferred_memory) == ("other", ["logits"], (0, 0))
        fed = {each.name: each.values for each in inputs}
        batches.append(fed["input_ids"].shape)
        if batches[-1][0] == 1:
            return InferenceResponse(error=TritonError("out of memory"))
        return InferenceResponse([Tensor("logits", local.forward(fed))])

    server = Server(models, "tiny", monkeypatch, remote)
    (answer,) = server.ask(TEXTS)
    np.testing.assert_allclose(answer["LOGITS"], local.logits(TEXTS), atol=1e-5)
    assert sum(texts for texts, _ in batches) == len(TEXTS) and 1 < len(batches) < 5
    assert not hasattr(server.model.classifier, "session")
    (error,) = server.ask([TEXTS[0]])
    assert error.text == "other: out of memory"


def test_the_stand_in_shares_no_code_with_the_package(server):
    """model.py is one file: its errors are its own, and it imports nothing of PocketBERT."""
    assert server.module.BundleError is not BundleError
    assert "from export" not in Path(server.module.__file__).read_text(encoding="utf-8")
