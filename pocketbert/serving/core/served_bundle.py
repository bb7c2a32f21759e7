"""A bundle that a server answers with: loaded once, and replaced by the new content of its folder on request."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from export.bundle.bundle_json import bundle_errors, read_bundle_info
from export.bundle.listed_files import BundleError, read_sums
from export.bundle.runtime import Classifier, checked_texts
from pocketbert.serving.core.limits import Limits, RefusedError
from pocketbert.serving.core.scheduler import Round, Scheduler
from pocketbert.serving.core.waiting import Answer


@dataclass(frozen=True)
class LoadedBundle:
    """A loaded bundle, the SHA-256 of its model file, and its variant, such as int8-static."""

    classifier: Classifier
    sha256: str
    variant: str


def load_bundle(folder: Path) -> LoadedBundle:
    """Load and check a bundle; each call of the model uses one thread. Raises UserError."""
    with bundle_errors():
        classifier = Classifier(folder, num_threads=1)
        sha256 = read_sums(folder)["onnx/model.onnx"]
    return LoadedBundle(classifier, sha256, read_bundle_info(folder).variant)


class ServedBundle:
    """A named bundle and its scheduler.

    `name`: in addresses. `num_workers`: rounds that run at the same time. `batching`: False answers each text alone.
    `on_round`, `on_fault`: called by a worker with the name, after each round and after an error of ours.
    """

    def __init__(
        self,
        name: str,
        loaded: LoadedBundle,
        limits: Limits,
        *,
        num_workers: int,
        batching: bool = True,
        on_round: Callable[[str, Round], None] = lambda name, done: None,
        on_fault: Callable[[str, Exception], None] = lambda name, error: None,
    ) -> None:
        self.name, self.loaded, self._limits = name, loaded, limits
        self.scheduler = Scheduler(
            loaded.classifier,
            limits,
            num_workers=num_workers,
            batching=batching,
            on_round=lambda done: on_round(name, done),
            on_fault=lambda error: on_fault(name, error),
        )
        self._reloading = asyncio.Lock()

    @property
    def classifier(self) -> Classifier:
        """The model that `reload` replaces."""
        return self.loaded.classifier

    def properties(self) -> dict[str, str]:
        """What a client may want to know of the model, for its metadata."""
        return {
            "task_type": self.classifier.task_type,
            "labels": json.dumps(self.classifier.labels, ensure_ascii=False),
            "max_length": str(self.classifier.max_length),
            "variant": self.loaded.variant,
            "sha256": self.loaded.sha256,
        }

    async def reload(self) -> None:
        """Load and check the folder again while the former model answers. Raises UserError; the former then stays."""
        async with self._reloading:
            loaded = await asyncio.to_thread(load_bundle, self.classifier.folder)
            self.loaded = loaded
            self.scheduler.replace(loaded.classifier)

    async def answer(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, may_truncate: bool = True
    ) -> Answer:
        """Answer texts, or pairs. Raises RefusedError if the bundle does not take them, and as the scheduler."""
        if not texts:
            raise RefusedError(400, "the request has no texts", kind="empty")
        if len(texts) > self._limits.texts:
            raise RefusedError(422, f"got {len(texts)} texts; the server accepts {self._limits.texts} per request")
        takes_pairs = self.classifier.takes_pairs
        if takes_pairs != (pairs is not None):
            expected = "two texts, a text and its pair" if takes_pairs else "one text, without a pair"
            raise RefusedError(422, f"the model {self.name} takes {expected}")
        if pairs is not None and len(pairs) != len(texts):
            raise RefusedError(422, f"got {len(texts)} texts and {len(pairs)} pairs; expected as many pairs as texts")
        try:
            checked_texts(texts, "texts")
            checked_texts(pairs or (), "pairs")
        except BundleError as error:
            raise RefusedError(422, str(error)) from error
        return await self.scheduler.answer(texts, pairs, may_truncate=may_truncate)
