"""Runs the original scripts in their environment. Needs torch and the scripts' requirements, but not PocketBERT.

    python -P original_driver.py COPY train RECORD OPTIONS...
    python -P original_driver.py COPY logits MODEL DATA MAX_LENGTH ARRAYS

COPY: the patched folder of the scripts. `train` calls task_distill.py with OPTIONS, and writes the time of its parts to
RECORD. `logits` loads MODEL as task_distill.py does, and writes its logits on dev and the token numbers to ARRAYS.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

WINDOW = 50  # batches whose texts are sorted by length


def masked_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """The mean over examples of the mean squared error where the mask is 1. `mask`: broadcasts to the tensors."""
    weights = mask.to(student.dtype).expand_as(student)
    dimensions = tuple(range(1, student.dim()))
    squared = (student - teacher).square() * weights
    return (squared.sum(dimensions) / weights.sum(dimensions)).mean()


def trimmed(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A batch without the positions that are padding in all its texts."""
    ids, mask, segments, labels, lengths = batch
    longest = int(lengths.max())
    return ids[:, :longest], mask[:, :longest], segments[:, :longest], labels, lengths


def corrected(moment: Tensor, beta: float, state: dict[str, Any]) -> Tensor:
    """A moment of Adam without its bias towards 0. `state`: of a parameter, before its step is counted."""
    return moment / (1 - beta ** (state["step"] + 1))


class SimilarLengths:
    """Batches of texts of similar lengths, in another random order in each epoch."""

    def __init__(self, lengths: Tensor, batch_size: int, seed: int) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(len(self.lengths), generator=self.generator)
        windows = [window[self.lengths[window].argsort()] for window in order.split(WINDOW * self.batch_size)]
        batches = torch.cat(windows).split(self.batch_size)
        for index in torch.randperm(len(batches), generator=self.generator).tolist():
            yield batches[index].tolist()


def similar_lengths(data: TensorDataset, batch_size: int, seed: int) -> DataLoader:
    """Loads batches of texts of similar lengths."""
    return DataLoader(data, batch_sampler=SimilarLengths(data.tensors[-1], batch_size, seed))


def train(record_file: Path, options: list[str]) -> None:
    """Call task_distill.py. Its training starts with its first epoch and ends with its last one."""
    import task_distill  # type: ignore[import-not-found]
    from transformer import optimization  # type: ignore[import-not-found]

    record: dict[str, Any] = {"num_steps": 0, "evaluation_s": 0.0, "saving_s": 0.0, "saves": [], "evaluations": []}

    def timed(key: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            started = time.perf_counter()
            result = function(*args, **named)
            record[key] += time.perf_counter() - started
            return result

        return call

    def save(*args: Any, **named: Any) -> None:
        timed_save(*args, **named)
        record["saves"].append(record["num_steps"])

    def epochs(count: int, **_: Any) -> Iterator[int]:
        started = time.perf_counter()
        yield from range(count)
        record["training_s"] = time.perf_counter() - started

    def step(optimiser: Any, *args: Any) -> Any:
        record["num_steps"] += 1
        return optimiser_step(optimiser, *args)

    def keep(result: dict[str, Any], file: str) -> None:
        record["evaluations"].append({name: float(value) for name, value in result.items()})
        write_result(result, file)

    timed_save, write_result, optimiser_step = (
        timed("saving_s", torch.save),
        task_distill.result_to_file,
        task_distill.BertAdam.step,
    )
    torch.save = save
    task_distill.BertAdam.step = step
    task_distill.trange, task_distill.result_to_file = epochs, keep
    task_distill.do_eval = timed("evaluation_s", task_distill.do_eval)
    for function in (masked_mse, trimmed, similar_lengths):
        setattr(task_distill, function.__name__, function)
    optimization.corrected = corrected
    sys.argv = [task_distill.__file__, *options]
    task_distill.main()
    record_file.write_text(json.dumps(record), encoding="utf-8")


@torch.no_grad()
def logits(model: str, data: str, max_length: int, file: Path) -> None:
    """The logits of a model on dev in eval mode, (rows, classes), and the token numbers, (rows, positions)."""
    import task_distill

    labels, mode = ["0", "1"], "classification"
    tokenizer = task_distill.BertTokenizer.from_pretrained(model, do_lower_case=True)
    examples = task_distill.Sst2Processor().get_dev_examples(data)
    features = task_distill.convert_examples_to_features(examples, labels, max_length, tokenizer, mode)
    rows, _ = task_distill.get_tensor_data(mode, features)
    loaded = task_distill.TinyBertForSequenceClassification.from_pretrained(model, num_labels=len(labels)).eval()
    batches = DataLoader(rows, batch_size=32)
    outputs = [loaded(ids, segments, mask)[0] for ids, mask, segments, _, _ in batches]
    np.savez(file, logits=torch.cat(outputs).numpy(), ids=rows.tensors[0].numpy())


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    match sys.argv[2:]:
        case ["train", record, *options]:
            train(Path(record), options)
        case ["logits", model, data, max_length, arrays]:
            logits(model, data, int(max_length), Path(arrays))
        case _:
            sys.exit(__doc__)
