"""Consumers in JavaScript: transformers.js and onnxruntime, in Node and in a page of headless Chromium."""

from dataclasses import replace

from tests.interop.consumers import FROM_1_16, FROM_1_22, NODE, Consumer
from tests.interop.environments import NodePackages

TRANSFORMERS_3, TRANSFORMERS_4 = (
    NodePackages(name=f"transformers-js-{version[0]}", packages=(f"@huggingface/transformers@{version}",))
    for version in ("3.8.1", "4.3.1")
)
ONNXRUNTIME = NodePackages(name="onnxruntime-js", packages=("onnxruntime-node@1.30.0", "onnxruntime-web@1.30.0"))
BROWSER = NodePackages(name="browser", packages=("playwright-core@1.64.1",))
PAIRS = "The pipeline has no pairs and no regression: use the tokenizer and the model."
TRUNCATION = "Texts over the limit lose their last special token."
ENTRIES = ("ort.wasm.min.mjs", "ort.min.mjs", "ort.all.min.mjs", "ort.webgpu.min.mjs", "ort.jspi.min.mjs")


def _transformers(environment: NodePackages, promised: tuple[str, ...]) -> tuple[Consumer, Consumer]:
    """The library in Node and in Chromium."""
    version = environment.packages[0].rpartition("@")[2]
    in_node = Consumer(
        name=f"transformers.js {version} (Node)",
        environment=environment,
        driver="js/transformers_js.mjs",
        command=NODE,
        promised=promised,
        reports="probabilities",
        note=f"{PAIRS} {TRUNCATION}",
    )
    in_page = replace(
        in_node,
        name=f"transformers.js {version} (Chromium)",
        further=(BROWSER,),
        driver="js/browser.mjs",
        options={"page": "page_transformers.mjs"},
    )
    return in_node, in_page


CONSUMERS = (
    *_transformers(TRANSFORMERS_3, FROM_1_16),
    *_transformers(TRANSFORMERS_4, FROM_1_22),
    Consumer(
        name="onnxruntime-node 1.30.0",
        environment=ONNXRUNTIME,
        driver="js/onnxruntime_node.mjs",
        command=NODE,
        promised=FROM_1_22,
    ),
    *(
        Consumer(
            name=f"onnxruntime-web 1.30.0 ({entry})",
            environment=ONNXRUNTIME,
            further=(BROWSER,),
            driver="js/browser.mjs",
            command=NODE,
            promised=FROM_1_22,
            options={"page": "page_onnxruntime.mjs", "entry": entry},
        )
        for entry in ENTRIES
    ),
)
