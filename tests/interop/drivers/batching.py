"""What drivers in Python share: model inputs from tokens, and the result that a driver prints."""

import json
import sys

import numpy as np


def model_inputs(encodings, names):
    """The named inputs of one padded batch."""
    arrays = {
        "input_ids": [encoding.ids for encoding in encodings],
        "attention_mask": [encoding.attention_mask for encoding in encodings],
        "token_type_ids": [encoding.type_ids for encoding in encodings],
    }
    return {name: np.array(arrays[name], dtype=np.int64) for name in names}


def rows_of(job):
    """The texts, or the pairs of texts."""
    return job["texts"] if job["pairs"] is None else list(zip(job["texts"], job["pairs"], strict=True))


def print_result(job, rows, run, version):
    """Run each row alone, then all in batches, unless the job leaves out batches. `run`: from a batch to outputs."""
    size = job["batch_size"]
    starts = [] if job.get("is_emulated") else range(0, len(rows), size)
    result = {
        "unbatched": [run([row])[0] for row in rows],
        "batched": [outputs for start in starts for outputs in run(rows[start : start + size])] or None,
        "version": version,
    }
    sys.stdout.write(json.dumps(result) + "\n")
