"""What the page is told about a bundle."""

import json
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from compress.common.errors import UserError
from compress.common.files import sha256
from pocketbert.demo.bundles import load_bundle, load_bundles, template_of


def edited(bundle: Path, folder: Path, **changes: object) -> Path:
    """A copy with another bundle.json, and the checksums of that."""
    shutil.copytree(bundle, folder)
    path = folder / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    sums = (folder / "SHA256SUMS").read_text().splitlines()
    sums = [f"{sha256(path)}  bundle.json" if line.endswith("  bundle.json") else line for line in sums]
    (folder / "SHA256SUMS").write_text("".join(f"{line}\n" for line in sums))
    return folder


def test_the_page_gets_settings_hashes_and_golden_examples_but_no_path(bundle):
    stored = json.loads((bundle / "bundle.json").read_text())
    given = load_bundle(bundle).for_page()
    assert given["labels"] == stored["labels"] and given["maxLength"] == stored["limits"]["max_length"]
    assert given["golden"] == stored["golden"]
    assert given["logitTolerance"] == stored["golden_terms"]["logit_tolerance"]
    assert given["model"] == {
        "sha256": sha256(bundle / "onnx" / "model.onnx"), "bytes": (bundle / "onnx" / "model.onnx").stat().st_size
    }  # fmt: skip
    assert str(bundle.parent) not in json.dumps(given)


def test_control_characters_of_names_and_labels_are_escaped(bundle, tmp_path):
    labels = ["<b>\x1b[31m", "\u202eevil"]
    terms = {**json.loads((bundle / "bundle.json").read_text())["golden_terms"], "labels": labels}
    given = load_bundle(edited(bundle, tmp_path / "é ☃", name="a\nb", labels=labels, golden_terms=terms)).for_page()
    assert given["labels"] == ["<b>\\x1b[31m", "\\u202eevil"]
    assert (given["name"], given["folder"]) == ("a\\nb", "é ☃")


def test_templates_are_those_of_the_tokenizers(bundle, pair_bundle):
    for folder in (bundle, pair_bundle):
        loaded = load_bundle(folder)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        texts = ["good film", "a"] if loaded.info.takes_pairs else ["good film"]
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        expected = tokenizer.encode(*texts)
        given_ids, given_types = [], []
        for part in loaded.template:
            added = part.get("ids") or ids[part["sequence"]]
            given_ids += added
            given_types += part.get("types") or [part["type"]] * len(added)
        assert (given_ids, given_types) == (expected.ids, expected.type_ids)
        assert len(loaded.template) == (5 if loaded.info.takes_pairs else 3)


def test_a_template_without_special_tokens_and_one_with_two_separators():
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "<s>": 1, "</s>": 2, "[UNK]": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    assert template_of(tokenizer, takes_pairs=False) == [{"sequence": 0, "type": 0}]
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
    assert template_of(tokenizer, takes_pairs=True) == [
        {"ids": [1], "types": [0]}, {"sequence": 0, "type": 0}, {"ids": [2, 2], "types": [0, 0]},
        {"sequence": 1, "type": 0}, {"ids": [2], "types": [0]},
    ]  # fmt: skip


def test_bundles_that_cannot_be_shown_are_refused(bundle, pair_bundle, tmp_path):
    with pytest.raises(UserError, match=r"takes one text and .* takes two texts; expected two bundles with the same"):
        load_bundles([bundle, pair_bundle])
    changed = tmp_path / "changed"
    shutil.copytree(bundle, changed)
    (changed / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json: changed since the bundle was written"):
        load_bundle(changed)
    with pytest.raises(UserError, match=r"not a bundle, it has no bundle\.json"):
        load_bundle(tmp_path)
    limits = {"max_length": 1, "truncation_side": "right"}
    with pytest.raises(UserError, match=r"limits\.max_length in bundle\.json: got 1; expected at least 2"):
        load_bundle(edited(bundle, tmp_path / "short", limits=limits))
