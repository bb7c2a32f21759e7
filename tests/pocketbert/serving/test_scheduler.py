"""Rounds of a real model: many requests at once, failing texts, other models, and errors of the server itself."""

import asyncio
import json

import numpy as np
import pytest

import pocketbert
from export.bundle.listed_files import BundleError
from pocketbert.serving.core.limits import Limits, RefusedError
from pocketbert.serving.core.metrics import Metrics
from pocketbert.serving.core.request_log import RequestLog
from pocketbert.serving.core.scheduler import Scheduler
from pocketbert.serving.core.served_bundle import LoadedBundle, ServedBundle
from pocketbert.serving.core.server_state import ServerState
from pocketbert.serving.rest import openapi, routes
from pocketbert.serving.rest.gateway import Gateway

TEXTS = [" ".join(["film"] * (1 + number % 29)) for number in range(300)]
PATIENT = Limits(latency_ms=60_000, waiting_texts=100_000)


@pytest.fixture
def classifier(bundle):
    return pocketbert.load(bundle, num_threads=1)


def answers_of(scheduler, requests, **options):
    """The answers, or errors, of requests that are sent at the same time."""

    async def all_of():
        return await asyncio.gather(*(scheduler.answer(texts, **options) for texts in requests), return_exceptions=True)

    try:
        return asyncio.run(all_of())
    finally:
        scheduler.stop()


@pytest.mark.parametrize("options", [{}, {"num_workers": 3}, {"batching": False}])
def test_each_request_gets_its_own_answer(classifier, options):
    expected = classifier.logits(TEXTS)
    rounds = []
    requests = [TEXTS[begin : begin + 1 + begin % 7] for begin in range(0, 290, 5)]
    scheduler = Scheduler(classifier, PATIENT, on_round=rounds.append, **options)
    answers = answers_of(scheduler, requests)
    for number, answer in enumerate(answers):
        begin = number * 5
        np.testing.assert_allclose(answer.logits, expected[begin : begin + len(requests[number])], atol=1e-5)
        assert answer.tokens == sum(2 + len(text.split()) for text in requests[number])
    assert sum(done.texts for done in rounds) == sum(map(len, requests))
    assert scheduler.num_waiting == 0
    if options.get("batching") is False:
        assert all(done.texts == done.calls == 1 for done in rounds)
    else:
        assert max(done.texts for done in rounds) > max(done.calls for done in rounds) > 1


def test_a_bundle_that_depends_on_its_batch_is_run_text_by_text(classifier):
    classifier.batch_invariant = False
    rounds = []
    answers_of(Scheduler(classifier, PATIENT, on_round=rounds.append), [TEXTS[:20]])
    assert all(done.calls == done.texts for done in rounds) and sum(done.calls for done in rounds) == 20


def test_a_text_that_fails_harms_no_other_request(classifier, monkeypatch):
    encode, run = classifier.encode, classifier.run

    def failing_encode(texts, pairs=None):
        if "unreadable" in texts:
            raise BundleError("tokenizers cannot encode the texts")
        return encode(texts, pairs)

    def failing_run(encodings):
        if any(len(encoding) == 7 for encoding in encodings):
            raise BundleError("onnxruntime cannot run the model")
        logits = run(encodings)
        return np.where([[len(encoding) == 9] for encoding in encodings], np.nan, logits)

    scheduler = Scheduler(classifier, PATIENT)
    monkeypatch.setattr(classifier, "encode", failing_encode)
    monkeypatch.setattr(classifier, "run", failing_run)
    good, bad = ["film " * 29], [["unreadable"], ["film " * 5, "film"], ["film " * 7], ["film", "unreadable"] * 50]
    answers = answers_of(scheduler, [good, *bad, good])
    assert [getattr(answer, "status", 200) for answer in answers] == [200, 422, 500, 500, 422, 200]
    assert scheduler.num_waiting == 0


def test_an_error_of_ours_ends_its_requests_and_not_the_worker(classifier, monkeypatch):
    faults, run = [], classifier.run

    def failing_run(encodings):
        if any(len(encoding) == 7 for encoding in encodings):
            raise KeyError("a secret text")
        return run(encodings)

    scheduler = Scheduler(classifier, PATIENT, batching=False, on_fault=faults.append)
    monkeypatch.setattr(classifier, "run", failing_run)
    first, second, third = answers_of(scheduler, [["film " * 5, "film"], ["film"], ["film " * 5]])
    assert (first.status, third.status) == (500, 500) and "secret" not in str(first)
    assert len(second.logits) == 1 and [type(error) for error in faults] == [KeyError, KeyError]


def test_long_texts_are_refused_only_on_demand(classifier):
    requests = [["film " * 100, "film"], ["film"]]
    first, second = answers_of(Scheduler(classifier, PATIENT), requests, may_truncate=False)
    assert isinstance(first, RefusedError) and first.status == 422 and "text 0 has more than 32 tokens" in str(first)
    assert second.truncated == 0
    first, second = answers_of(Scheduler(classifier, PATIENT), requests)
    assert (first.truncated, second.truncated) == (1, 0)


def test_another_model_answers_the_next_requests_and_not_the_rest_of_this_one(classifier, bundle):
    """The new model reverses its logits. A large request needs many rounds, and gets one model for all of them."""
    other = pocketbert.load(bundle, num_threads=1)
    run, replaced = other.run, []
    other.run = lambda encodings: run(encodings)[:, ::-1]
    scheduler = Scheduler(classifier, Limits(latency_ms=1))

    def replace_once(done):
        if not replaced:
            replaced.append(done.texts)
            scheduler.replace(other)

    scheduler._on_round = replace_once
    expected = classifier.logits(TEXTS)

    async def both():
        large = await scheduler.answer(TEXTS)
        return large, await scheduler.answer(TEXTS[:1])

    large, small = asyncio.run(both())
    scheduler.stop()
    assert replaced[0] < len(TEXTS) and large.classifier is classifier and small.classifier is other
    np.testing.assert_allclose(large.logits, expected, atol=1e-5)
    np.testing.assert_allclose(small.logits, expected[:1, ::-1], atol=1e-5)


def test_after_the_stop_no_request_is_accepted(classifier):
    scheduler = Scheduler(classifier, PATIENT)
    scheduler.stop()
    (refused,) = answers_of(scheduler, [["film"]])
    assert refused.status == 503


class Events(list):
    """The events of a log."""

    def event(self, event, **fields):
        self.append((event, fields))


def test_a_fault_is_logged_by_its_place_and_not_by_its_text(bundle, classifier):
    limits, metrics, events = Limits(), Metrics(), Events()
    served = ServedBundle("fp32", LoadedBundle(classifier, "0" * 64, "fp32"), limits, num_workers=1)

    async def failing(state, request):
        raise RuntimeError("a secret text")

    state = ServerState([served], limits, metrics)
    application = routes.application(state, openapi.document(needs_key=True), {("GET", "/health"): failing})
    gateway = Gateway(application, state, RequestLog(metrics, events, writes_requests=True), None)
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/health",
        "headers": [],
        "query_string": b"",
        "http_version": "1.1",
    }
    asyncio.run(gateway(scope, receive, send))
    served.scheduler.stop()
    assert sent[0]["status"] == 500 and json.loads(sent[1]["body"])["error"] == "a fault of the server"
    (fault, fields), (request, more) = events
    assert (fault, request) == ("fault", "request") and more["status"] == 500 and state.num_open == 0
    assert fields["error"] == "RuntimeError" and "test_scheduler.py" in fields["place"]
    assert "secret" not in repr(events)
