"""A tiny classifier that is right about every text of its task: texts repeat one word, which determines the class."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import BertForSequenceClassification

from tiny_bert import NEUTRAL, config, make_tokenizer

WORDS = NEUTRAL[:10]  # one per class


def perfect_model(folder: Path, names: Sequence[str] | None = None, *, num_classes: int = 3) -> Path:
    """Write the model as a Hugging Face folder. `names`: of its outputs; by default LABEL_0 and so on."""
    torch.manual_seed(0)
    default = [f"LABEL_{index}" for index in range(num_classes)]
    labels = list(names or default)
    model = BertForSequenceClassification(
        config(
            num_hidden_layers=1,
            id2label=dict(enumerate(labels)),
            label2id={name: index for index, name in enumerate(labels)},
        )
    ).eval()
    tokenizer = make_tokenizer()
    ids = [tokenizer.convert_tokens_to_ids(WORDS[index]) for index in range(len(labels))]
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    batches = [torch.tensor([[2, *[word] * length, 3] for word in ids]) for length in (1, 4, 12)]
    classes = torch.arange(len(labels))
    for _ in range(30):
        for inputs in batches:
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs).logits, classes).backward()
            optimiser.step()
    assert all((model(inputs).logits.argmax(dim=1) == classes).all() for inputs in batches)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def perfect_rows(labels: Sequence[object], *, repeats: int = 10) -> list[tuple[str, object]]:
    """Rows of (text, label), with different texts. `labels`: the label of each class; None leaves a class out."""
    return [
        (" ".join([WORDS[index]] * (1 + count)), label)
        for count in range(repeats)
        for index, label in enumerate(labels)
        if label is not None
    ]
