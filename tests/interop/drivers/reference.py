"""The outputs of the bundle's own predict.py, text by text, and its tokens for consumers without a tokenizer."""

import json
import sys

job = json.load(sys.stdin)
sys.path.insert(0, job["bundle"])
from predict import Classifier  # noqa: E402

classifier = Classifier(job["bundle"], num_threads=1)
texts, pairs = job["texts"], job["pairs"]
encodings = classifier.encode(texts, pairs)
rows = [
    classifier.logits([text], None if pairs is None else [pairs[index]])[0].tolist() for index, text in enumerate(texts)
]
tokens = [{"ids": encoding.ids, "types": encoding.type_ids} for encoding in encodings]
result = {"unbatched": rows, "tokens": tokens, "inputs": classifier.input_names, "pad": classifier.pad_token_id}
sys.stdout.write(json.dumps(result) + "\n")
