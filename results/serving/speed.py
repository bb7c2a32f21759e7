"""How many requests per second a server answers with a 99th percentile under 50 ms, next to MLServer; and overload.

    python results/serving/speed.py rates BUNDLE --texts texts.txt --mlserver ENVIRONMENT > results/serving/rates.json
    python results/serving/speed.py overload BUNDLE --texts texts.txt --minutes 10 > results/serving/overload.json

ENVIRONMENT is a virtual environment with mlserver, onnxruntime and tokenizers. Each request has one line of the texts
and comes over loopback, from this process. `rates` compares, in interleaved rounds: `pocketbert serve`, the same
without batching, MLServer with a runtime that calls the bundle's predict.py, with and without its adaptive batching,
and predict.py in a loop without a server. `overload` sends twice the highest rate, then half of it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import uvloop

import pocketbert
from bench.measurement import machine
from bench.serving_speed.load import Exchange, LoadResult, post, send_load

Result = TypeVar("Result")
P99_MS = 50.0
STEP = 1.12  # between the rates that are tried
PROBE_S = 4.0
LEAST_RATE = 20.0  # requests/s; a server that answers fewer answers none
TRIES = 2  # of each rate
START_S = 60.0
ROUNDS = 3
CHECKED_ANSWERS = 100_000
PORT = 9380
RUNTIME = """\
import sys
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceResponse
import numpy as np

class Runtime(MLModel):
    async def load(self):
        sys.path.insert(0, self.settings.parameters.uri)
        import predict
        self.classifier = predict.Classifier(self.settings.parameters.uri, num_threads=1)
        return True

    async def predict(self, payload):
        texts = [text for tensor in payload.inputs for text in StringCodec.decode_input(tensor)]
        answers = self.classifier.predict(texts)
        return InferenceResponse(model_name=self.name, outputs=[
            StringCodec.encode_output("label", [answer["label"] for answer in answers]),
            NumpyCodec.encode_output("probability", np.array([answer["probability"] for answer in answers])),
        ])
"""


@dataclass(frozen=True)
class Contender:
    """A server: its name, and the command that starts it on PORT in a folder."""

    name: str
    command: Sequence[str]
    files: dict[str, str]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    rates_parser, overload_parser = commands.add_parser("rates"), commands.add_parser("overload")
    for each in (rates_parser, overload_parser):
        each.add_argument("bundle", type=Path)
        each.add_argument("--texts", type=Path, required=True)
    rates_parser.add_argument("--mlserver", type=Path, required=True)
    overload_parser.add_argument("--minutes", type=float, default=10)
    overload_parser.add_argument("--rate", type=float, required=True, help="the highest rate, from `rates`")
    arguments = parser.parse_args()
    bundle = arguments.bundle.absolute()
    texts = [line for line in arguments.texts.read_text(encoding="utf-8").splitlines() if line.strip()]
    if arguments.command == "rates":
        result = rates(bundle, texts, arguments.mlserver.absolute())
    else:
        result = overload(bundle, texts, arguments.rate, arguments.minutes)
    document = {"machine": vars(machine.describe()), "num_texts": len(texts)} | result
    sys.stdout.write(json.dumps(document, indent=1, default=vars) + "\n")


def rates(bundle: Path, texts: list[str], mlserver: Path) -> dict[str, object]:
    """The highest rate of each contender in each round."""
    contenders = [
        ours(bundle),
        ours(bundle, "--no-batching"),
        theirs(bundle, mlserver, 0),
        theirs(bundle, mlserver, 32),
    ]
    exchanges = {each.name: exchanges_of(bundle, texts, ours=each.name.startswith("pocketbert")) for each in contenders}
    highest: dict[str, list[float]] = {each.name: [] for each in contenders}
    probes: list[dict[str, object]] = []
    highest["predict.py in a loop"] = []
    for number in range(ROUNDS):
        for contender in contenders:
            with running(contender) as process:
                begin = highest[contender.name][-1] / STEP if highest[contender.name] else 300.0
                rate = run(_highest_rate(exchanges[contender.name], begin, probes, contender.name))
                log(f"round {number + 1}: {contender.name}: {rate:.0f} requests/s, {memory_mib(process):.0f} MiB")
                highest[contender.name].append(rate)
        highest["predict.py in a loop"].append(loop_rate(bundle, texts))
        log(f"round {number + 1}: predict.py in a loop: {highest['predict.py in a loop'][-1]:.0f} texts/s")
    best = f"{contenders[0].name}"
    ratios = {
        name: [ours_rate / rate for ours_rate, rate in zip(highest[best], values, strict=True)]
        for name, values in highest.items()
    }
    return {"p99_ms": P99_MS, "highest_rate": highest, f"ratio_of_{best}_to": ratios, "probes": probes}


async def _highest_rate(exchanges: list[Exchange], begin: float, probes: list[dict[str, object]], name: str) -> float:
    """The highest rate whose 99th percentile is under the limit, all answers right and none refused."""
    await send_load("127.0.0.1", PORT, exchanges, rate=begin / 2, seconds=2.0)  # warms up
    rate, highest = begin, 0.0
    while True:
        if rate < LEAST_RATE:
            raise RuntimeError(f"{name}: {probes[-1]}")
        is_good = False
        for _ in range(TRIES):  # other programs may disturb one
            result = await send_load("127.0.0.1", PORT, exchanges, rate=rate, seconds=PROBE_S, seed=len(probes))
            probes.append({"name": name} | summary(result))
            is_complete = result.statuses[200] == result.num_sent and not result.num_wrong
            is_good = is_complete and result.percentile_ms(99) <= P99_MS
            if is_good:
                break
        if is_good:
            highest = rate
        elif highest:
            return highest
        rate = rate * STEP if is_good else rate / STEP


def overload(bundle: Path, texts: list[str], rate: float, minutes: float) -> dict[str, object]:
    """Checked answers at half of the highest rate; then twice that rate, with memory; then half of it again."""
    exchanges = exchanges_of(bundle, texts, ours=True)
    with running(ours(bundle)) as process:
        checked = run(load(exchanges, rate / 2, CHECKED_ANSWERS / (rate / 2)))
        log(f"checked: {summary(checked)}")
        memory, flood, end = [memory_mib(process)], [], time.perf_counter() + minutes * 60
        while time.perf_counter() < end:
            flood.append(summary(run(load(exchanges, 2 * rate, 20.0))))
            memory.append(memory_mib(process))
            log(f"overload: {flood[-1]}, {memory[-1]:.1f} MiB")
        after = run(load(exchanges, rate / 2, 10.0))
        log(f"after: {summary(after)}")
    return {
        "highest_rate": rate,
        "checked": summary(checked),
        "overload": flood,
        "memory_mib": memory,
        "after": summary(after),
    }


async def load(exchanges: list[Exchange], rate: float, seconds: float) -> LoadResult:
    """A load on PORT."""
    return await send_load("127.0.0.1", PORT, exchanges, rate=rate, seconds=seconds)


def summary(result: LoadResult) -> dict[str, object]:
    """The figures of a load."""
    return {
        "rate": round(result.rate, 1),
        "sent": result.num_sent,
        "statuses": {str(status): count for status, count in sorted(result.statuses.items()) if count},
        "wrong": result.num_wrong,
        "p50_ms": round(result.percentile_ms(50), 2),
        "p99_ms": round(result.percentile_ms(99), 2),
    }


def exchanges_of(bundle: Path, texts: Sequence[str], *, ours: bool) -> list[Exchange]:
    """A request per text, and the label and probability of predict.py as check."""
    answers = pocketbert.load(bundle).predict(texts)
    path = "/v2/models/bundle/infer"

    def check(answer: dict[str, object]) -> object:
        def is_right(body: bytes) -> bool:
            outputs = {output["name"]: output["data"] for output in json.loads(body)["outputs"]}
            probability = max(outputs["probabilities"]) if ours else outputs["probability"][0]
            return outputs["label"] == [answer["label"]] and abs(probability - float(str(answer["probability"]))) < 1e-5

        return is_right

    exchanges = []
    for text, answer in zip(texts, answers, strict=True):
        tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}
        exchanges.append(Exchange(post(path, json.dumps({"inputs": [tensor]}).encode()), check(answer)))
    return exchanges


def ours(bundle: Path, *options: str) -> Contender:
    """`pocketbert serve` with its defaults, but for the ports and the log."""
    ports = ["--port", str(PORT), "--grpc-port", "0", "--metrics-port", "0", "--drain-seconds", "0"]
    command = [sys.executable, "-m", "pocketbert", "serve", f"bundle={bundle}", *ports, "--no-request-log", *options]
    return Contender(" ".join(["pocketbert serve", *options]), command, {})


def theirs(bundle: Path, environment: Path, batch_size: int) -> Contender:
    """MLServer with a runtime of our own, and its adaptive batching if there is a batch size."""
    settings = {"http_port": PORT, "grpc_port": PORT + 1, "metrics_port": PORT + 2, "host": "127.0.0.1"}
    settings |= {"parallel_workers": 0, "debug": False, "logging_settings": None}
    model: dict[str, object] = {
        "name": "bundle",
        "implementation": "runtime.Runtime",
        "parameters": {"uri": str(bundle)},
    }
    if batch_size:
        model |= {"max_batch_size": batch_size, "max_batch_time": 0.005}
    files = {
        "settings.json": json.dumps(settings),
        "model-settings.json": json.dumps(model),
        "runtime.py": RUNTIME,
    }
    name = "MLServer, adaptive batching" if batch_size else "MLServer"
    return Contender(name, [str(environment / "bin" / "mlserver"), "start", "."], files)


@contextmanager
def running(contender: Contender) -> Iterator[psutil.Process]:
    """The process of a server that is ready."""
    folder = Path(tempfile.mkdtemp())
    for name, content in contender.files.items():
        (folder / name).write_text(content, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(folder)])}
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(contender.command, cwd=folder, stdout=output, stderr=output, env=environment)
    try:
        _wait_until_ready(process, folder / "log")
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(timeout=60)
        shutil.rmtree(folder)


def _wait_until_ready(process: subprocess.Popen, output: Path) -> None:
    deadline = time.perf_counter() + START_S
    while time.perf_counter() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/v2/models/bundle/ready", timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(output.read_text(encoding="utf-8", errors="replace")[-2000:])


def loop_rate(bundle: Path, texts: Sequence[str]) -> float:
    """Texts per second of predict.py's classifier, one text per call, with one thread."""
    classifier = pocketbert.load(bundle, num_threads=1)
    begin, num_texts = time.perf_counter(), 0
    while time.perf_counter() < begin + PROBE_S:
        classifier.predict([texts[num_texts % len(texts)]])
        num_texts += 1
    return num_texts / (time.perf_counter() - begin)


def memory_mib(process: psutil.Process) -> float:
    """Resident memory of a process and its children."""
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)]) / 2**20


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in the faster event loop, so that the client is not what limits the rate."""
    return uvloop.run(coroutine)


def log(line: str) -> None:
    """Progress, on standard error."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
