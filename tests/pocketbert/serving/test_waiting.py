"""The queue: what it accepts, and what a round takes."""

import asyncio
from types import SimpleNamespace

import pytest

from pocketbert.serving.core.limits import Limits, RefusedError
from pocketbert.serving.core.waiting import QUEUE_SHARE, ROUND_SHARE, Job, Speed, WaitingTexts

LIMITS = Limits(latency_ms=100, waiting_texts=2000)
TOKENS_PER_S = 1000.0
ROUND = round(TOKENS_PER_S * 0.1 * ROUND_SHARE)  # tokens
CHARACTERS = 8  # of a text with 10 tokens, at one token per character


@pytest.fixture
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def queue(**options) -> WaitingTexts:
    return WaitingTexts(LIMITS, Speed(TOKENS_PER_S, 1.0), **{"num_workers": 1, **options})


def job(loop, num_texts=1, characters=CHARACTERS, max_length=50) -> Job:
    classifier = SimpleNamespace(max_length=max_length)
    return Job(["x" * characters] * num_texts, None, True, classifier, loop.create_future())


def test_a_round_takes_the_oldest_texts_up_to_its_tokens(loop):
    waiting = queue()
    jobs = [job(loop) for _ in range(5)]
    for each in jobs:
        waiting.add(each)
    assert waiting.num_texts == 5
    first = waiting.take()
    assert [each for each, _ in first] == jobs[:3], "25 tokens: three texts of 10"
    assert [each for each, _ in waiting.take()] == jobs[3:]
    assert not waiting and waiting.num_texts == 0 and waiting.wait_s == pytest.approx(0)


def test_a_text_that_is_larger_than_a_round_is_taken_alone(loop):
    waiting = queue()
    waiting.add(job(loop, characters=1000))
    waiting.add(job(loop))
    assert len(waiting.take()) == 1
    assert len(waiting.take()) == 1


def test_a_text_that_truncation_cuts_still_has_to_be_tokenised(loop):
    waiting = queue()
    for characters in (3, 3, 1000, 3):
        waiting.add(job(loop, characters=characters, max_length=5))
    assert len(waiting.take()) == 3, "5 tokens each, and a tenth of 1,002 for the long text"
    assert len(waiting.take()) == 1


def test_a_large_request_delays_others_by_one_round(loop):
    waiting = queue()
    large, small = job(loop, 30), job(loop)
    waiting.add(large)
    waiting.add(small)
    assert {each for each, _ in waiting.take()} == {large}
    assert waiting.take()[0][0] is small, "the rest of the large request is behind the small one"
    taken = 2 + 3 + len([waiting.take() for _ in range(20) if waiting])
    assert taken and not waiting and large.next_text == 30 and large.num_open == 30
    assert waiting.num_texts == 0 and waiting.wait_s == pytest.approx(0)


def test_the_queue_holds_a_share_of_the_latency_budget(loop):
    waiting = queue()
    accepted = 0
    with pytest.raises(RefusedError) as refused:
        for accepted in range(1000):  # noqa: B007 (used below)
            waiting.add(job(loop))
    assert accepted == int(QUEUE_SHARE * 0.1 * TOKENS_PER_S / 10) + 1
    assert refused.value.status == 503 and refused.value.retry_s == 1
    waiting.take()
    waiting.add(job(loop))


def test_more_workers_hold_more(loop):
    one, two = queue(), queue(num_workers=2)
    for waiting in (one, two):
        with pytest.raises(RefusedError):
            for _ in range(1000):
                waiting.add(job(loop))
    assert two.num_texts == pytest.approx(2 * one.num_texts, abs=1)


def test_an_idle_server_accepts_a_request_of_any_size(loop):
    waiting = queue()
    waiting.add(job(loop, 1024, characters=1000))
    waiting.add(job(loop))
    with pytest.raises(RefusedError, match="wait already"):
        waiting.add(job(loop, 1024))


def test_cancelled_requests_are_left_out(loop):
    waiting = queue()
    gone, stays = job(loop, 40), job(loop)
    waiting.add(gone)
    waiting.add(stays)
    gone.future.cancel()
    assert [each for each, _ in waiting.take()] == [stays]
    assert waiting.num_texts == 0


def test_a_failed_request_needs_no_more_rounds(loop):
    waiting = queue()
    failed = job(loop, 40)
    waiting.add(failed)
    for _ in waiting.take():
        failed.num_open -= 1
    failed.fail(ValueError("first"))
    failed.fail(ValueError("second"))
    assert str(failed.error) == "first" and failed.is_done
    assert waiting.take() == [] and waiting.num_texts == 0


def test_rounds_of_one_take_one_text(loop):
    waiting = queue(rounds_of_one=True)
    waiting.add(job(loop, 3))
    waiting.add(job(loop))
    assert [len(waiting.take()) for _ in range(4)] == [1, 1, 1, 1]
    assert not waiting


def test_the_speed_follows_the_rounds():
    speed = Speed(100.0)
    for _ in range(200):
        speed.learn(characters=400, tokens=100, seconds=0.01)
    assert speed.tokens_per_s == pytest.approx(10_000, rel=0.01)
    assert speed.tokens_per_character == pytest.approx(0.25, rel=0.01)
