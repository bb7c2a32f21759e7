"""Trains one configuration of the ladder in its own process. Started as `python -P -m bench.training_speed.worker`."""

import json
import random
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, TrainerCallback

from bench.measurement.worker_process import as_record, serve_requests
from bench.timing.worker import peak_rss_bytes
from bench.training_speed.ladder import TrainingWorkerSpec, TrainingWorkload
from compress.data.batching import LengthBucketedBatchSampler, PaddingCollator, WeightedRows, read_rows
from compress.data.tokenization import TokenDataset
from compress.distillation import layer_outputs, training_loop
from compress.distillation.objective import INTERMEDIATE_LAYERS, DistillationModel, Objective, Projections
from compress.distillation.used_embeddings import only_used_rows, used_token_ids
from compress.models import loading
from compress.models.inference import predict_logits
from compress.models.precision import Precision, autocast
from compress.models.shape import map_layers
from compress.models.student import new_student


class TrainingWorker:
    """Trains on the same rows repeatedly. `spec`: a `TrainingWorkerSpec` as JSON."""

    def __init__(self, spec: object) -> None:
        own_spec = as_record(TrainingWorkerSpec, spec)
        torch.set_num_threads(own_spec.num_threads)
        torch.manual_seed(0)
        self.stage, self.config = own_spec.stage, own_spec.config
        self.workload = as_record(TrainingWorkload, json.loads(Path(own_spec.workload).read_text()))
        self.precision: Precision = "auto" if self.config.precision == "ours" else "fp32"
        labels = tuple(f"LABEL_{index}" for index in range(self.workload.num_labels))
        task_type = self.workload.task_type
        self.teacher = loading.load_classifier(self.workload.teacher, labels, task_type=task_type).eval()
        self.student = new_student(self.workload.shape, self.teacher, labels, task_type=task_type)
        self.projections = Projections(self.student.config.hidden_size, self.teacher.config.hidden_size)
        self.layer_map = map_layers(
            "uniform", self.student.config.num_hidden_layers, self.teacher.config.num_hidden_layers
        )
        self.data = TokenDataset(
            rows=Dataset.from_dict({"input_ids": self.workload.rows}),
            lengths=np.array([len(row) for row in self.workload.rows]),
            input_names=["input_ids"],
            pad_token_id=self.teacher.config.pad_token_id,
        )
        in_rows = used_token_ids(self.data, self.student.config.vocab_size)
        self.used_tokens = np.union1d(in_rows, np.asarray(self.workload.used_tokens, dtype=in_rows.dtype))
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        if self.config.engine == "textbrewer":
            from bench.training_speed import textbrewer

            self.textbrewer = textbrewer.TextBrewerTrainer(self.teacher, self.student, self.stage, self.layer_map)
        self.capture = ExitStack()
        if self.stage == "intermediate" and self.config.engine != "textbrewer":
            self.capture.enter_context(layer_outputs.capture_attention(self.teacher, self.student))
        elif self.config.outputs == "all":
            for model in (self.teacher, self.student):
                model.set_attn_implementation("eager")  # the only implementation that returns attentions

    def facts(self) -> int:
        """Peak resident memory so far, in bytes."""
        return peak_rss_bytes()

    def read(self) -> float:
        """Seconds of this configuration's input pipeline for all rows, without training."""
        data = self.data
        if self.stage == "prediction" and self.config.cached:
            data = data.with_column("teacher_logits", np.zeros((len(data.lengths), self.workload.num_labels)))
        batches: Iterable[Any] = self._batches(data)
        if self.config.engine == "ours":
            sampler = LengthBucketedBatchSampler(data.lengths, batch_size=self.workload.batch_size, seed=0)
            batches = DataLoader(
                WeightedRows(data.rows), batch_sampler=sampler, collate_fn=PaddingCollator(data.pad_token_id)
            )
        started = time.perf_counter()
        for _ in batches:
            pass
        return time.perf_counter() - started

    def train(self) -> tuple[float, float]:
        """Train over all rows. Returns the seconds of the steps, and the seconds to fill the cache of logits."""
        fill_s, data = 0.0, self.data
        if self.stage == "prediction" and self.config.cached:
            started = time.perf_counter()
            data = data.with_column("teacher_logits", predict_logits(self.teacher, self.data, precision=self.precision))
            fill_s = time.perf_counter() - started
        if self.config.engine == "ours":
            return self._train_ours(data), fill_s
        if self.config.engine == "textbrewer":
            return self.textbrewer.train(list(self._batches(data))), fill_s
        return self._train_plainly(data), fill_s

    # -- our trainer

    def _train_ours(self, data: TokenDataset) -> float:
        layers = self.stage == "intermediate"
        objective = INTERMEDIATE_LAYERS if layers else Objective(prediction=1.0, task_type=self.workload.task_type)
        clock = _Clock()
        # the rows are a sample, so the embeddings of all tokens of the data set are trained
        embedding = only_used_rows(self.student, self.used_tokens)
        with tempfile.TemporaryDirectory() as folder, embedding:
            training_loop.train(
                DistillationModel(self.student, self.projections if layers else None, objective),
                data,
                training_loop.Schedule(
                    epochs=2 if self.config.compiled else 1, batch_size=self.workload.batch_size, learning_rate=1e-5
                ),
                training_loop.TrainContext(
                    title="bench",
                    seed=0,
                    checkpoints=Path(folder),
                    precision=self.precision,
                    compiled=self.config.compiled,
                    console=Console(quiet=True),
                ),
                teacher=self.teacher if layers else None,
                layer_map=self.layer_map,
                whole_embedding=True,
                callbacks=[clock],
            )
        return clock.seconds

    # -- the plain loop

    def _batches(self, data: TokenDataset) -> Iterator[dict[str, Tensor]]:
        size = self.workload.batch_size
        if self.config.padding == "bucketed":
            batches = LengthBucketedBatchSampler(data.lengths, batch_size=size, seed=0)
            numbers = [[sampled.row for sampled in batch] for batch in batches]
        else:
            order = random.Random(0).sample(range(len(data.rows)), len(data.rows))
            numbers = [order[start : start + size] for start in range(0, len(order), size)]
        collate = PaddingCollator(data.pad_token_id)
        for batch_numbers in numbers:
            batch = collate(read_rows(data.rows, batch_numbers))
            short = self.workload.max_length - batch["input_ids"].shape[1]
            if self.config.padding == "maximum" and short > 0:
                for name, fill in (("input_ids", data.pad_token_id), ("attention_mask", 0)):
                    batch[name] = nn.functional.pad(batch[name], (0, short), value=fill)
            yield {name: value.to(self.device) for name, value in batch.items()}

    def _train_plainly(self, data: TokenDataset) -> float:
        """The method of the original scripts: both models run on each batch; squared errors and AdamW."""
        self.student.train()
        for module in (self.student, self.teacher, self.projections):
            nn.Module.to(module, self.device)
        parameters = [*self.student.parameters(), *self.projections.parameters()]
        optimiser = torch.optim.AdamW(parameters, lr=1e-5, fused=self.config.fused)
        started = time.perf_counter()
        for batch in self._batches(data):
            logits = batch.pop("teacher_logits", None)
            with autocast(self.precision):
                loss = self._layer_loss(batch) if self.stage == "intermediate" else self._logit_loss(batch, logits)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            optimiser.zero_grad()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def _layer_loss(self, batch: dict[str, Tensor]) -> Tensor:
        with torch.no_grad():
            teacher = self._layer_outputs(self.teacher, batch)
        student = self._layer_outputs(self.student, batch)
        layers = list(enumerate((0, *self.layer_map)))
        project = self.projections.of_layer(0)
        mse = nn.functional.mse_loss
        loss = torch.stack([mse(project(student.hidden[m]), teacher.hidden[layer]) for m, layer in layers]).sum()
        score_losses = [mse(student.scores[m - 1], teacher.scores[layer - 1]) for m, layer in layers[1:]]
        return loss + torch.stack(score_losses).sum()

    def _layer_outputs(self, model: PreTrainedModel, batch: dict[str, Tensor]) -> layer_outputs.LayerOutputs:
        if self.config.outputs == "used":
            return layer_outputs.read(model, batch, INTERMEDIATE_LAYERS.requested_outputs)
        output = model(**batch, output_hidden_states=True, output_attentions=True)
        scores = tuple(layer.scores for layer in output.attentions)
        return layer_outputs.LayerOutputs(last=output.hidden_states[-1], hidden=output.hidden_states, scores=scores)

    def _logit_loss(self, batch: dict[str, Tensor], logits: Tensor | None) -> Tensor:
        all_outputs = self.config.outputs == "all"
        options = {"output_hidden_states": True, "output_attentions": True} if all_outputs else {}
        if logits is None:
            with torch.no_grad():
                logits = self.teacher(**batch, **options).logits
        targets = logits.float().softmax(dim=-1)
        return -(targets * self.student(**batch, **options).logits.float().log_softmax(dim=-1)).mean()


class _Clock(TrainerCallback):
    """Times the last epoch, from loading its first batch to the end of its last step. This excludes compilation."""

    seconds = 0.0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock at each epoch."""
        self.started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop the clock after the last step."""
        if state.global_step < state.max_steps:
            return
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds = time.perf_counter() - self.started


if __name__ == "__main__":
    serve_requests(TrainingWorker)
