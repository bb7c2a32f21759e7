"""What bundles answer for some texts here, as JSON: to hold against another runtime, machine or emulated processor.

python answers.py BUNDLE... < texts.txt > answers.json
qemu-x86_64 -cpu Haswell python answers.py --exact 0 BUNDLE... < texts.txt     # AVX2, no VNNI, nothing prevented
"""

import argparse
import json
import sys

import onnxruntime

from export.bundle.runtime import Classifier

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("bundles", nargs="+")
parser.add_argument("--exact", choices=("0", "1"), default="0", help="session.x64quantprecision")
arguments = parser.parse_args()
options = onnxruntime.SessionOptions()
options.add_session_config_entry("session.x64quantprecision", arguments.exact)
texts = sys.stdin.read().splitlines()
found: dict = {"logits": {}}
for bundle in arguments.bundles:
    classifier = Classifier(bundle)
    classifier.session = onnxruntime.InferenceSession(f"{bundle}/onnx/model.onnx", options)
    encodings = classifier.encode(texts)
    found["ids"] = [encoding.ids for encoding in encodings]
    found["logits"][bundle] = [classifier.run([encoding])[0].tolist() for encoding in encodings]
sys.stdout.write(json.dumps(found) + "\n")
