import pytest

from compress.distillation.successive_halving import (
    DIVERGED,
    Candidate,
    Trained,
    best_of,
    num_search_steps,
    rounds_of,
    successive_halving,
)

RATES = (1e-5, 1e-4, 1e-3, 1e-2)
CANDIDATES = [Candidate(learning_rate=rate, batch_size=32) for rate in RATES]


class Trainer:
    """Scores candidates from a table, by rate and round, and lists the trainings."""

    def __init__(self, scores: dict[float, list[float]], *, interrupt_at: int | None = None) -> None:
        self.scores = scores
        self.interrupt_at = interrupt_at
        self.trained: list[tuple[float, int]] = []

    def __call__(self, candidate: Candidate, steps: int) -> Trained:
        if len(self.trained) == self.interrupt_at:
            raise KeyboardInterrupt
        self.trained.append((candidate.learning_rate, steps))
        score = self.scores[candidate.learning_rate][0 if steps == 10 else 1]
        return Trained(dev_score=score, dev_loss=1 - score, p_value=0.5)


SCORES = {1e-5: [0.2, 0.9], 1e-4: [0.5, 0.6], 1e-3: [0.4, 0.7], 1e-2: [0.1, 0.9]}


def search(trainer, file, on_point=lambda point, left: None):
    return successive_halving(CANDIDATES, 40, trainer, file, on_point, lambda: None)


def test_the_better_half_trains_on_in_full_the_best_first(tmp_path):
    trainer, left = Trainer(SCORES), []
    points = search(trainer, tmp_path / "points.json", lambda point, steps_left: left.append(steps_left))
    assert trainer.trained == [(1e-5, 10), (1e-4, 10), (1e-3, 10), (1e-2, 10), (1e-4, 40), (1e-3, 40)]
    assert [(point.learning_rate, point.num_steps) for point in points] == trainer.trained
    assert left == [90, 80, 70, 60, 30, 0]
    assert best_of(points).learning_rate == 1e-3


@pytest.mark.parametrize(
    ("count", "rounds", "steps"),
    [
        (1, [(1, 40)], 40),
        (2, [(2, 40)], 80),
        (3, [(3, 10), (2, 40)], 90),
        (6, [(6, 10), (3, 20), (2, 40)], 130),
        (40, [(40, 10), (20, 20), (10, 40)], 800),
    ],
)
def test_the_rounds_and_their_cost_are_known_before_the_search(count, rounds, steps):
    assert rounds_of(count, 40) == rounds
    assert num_search_steps(count, 40) == steps


@pytest.mark.parametrize("killed_after", range(6))
def test_an_interrupted_search_continues_and_chooses_the_same(tmp_path, killed_after):
    class Killed(BaseException):
        pass

    def killed_then(trainer):
        def train(candidate, steps):
            if len(trainer.trained) == killed_after:
                raise Killed
            return trainer(candidate, steps)

        return train

    file = tmp_path / "points.json"
    first, second = Trainer(SCORES), Trainer(SCORES)
    with pytest.raises(Killed):
        search(killed_then(first), file)
    points = search(second, file)
    assert first.trained + second.trained == [(point.learning_rate, point.num_steps) for point in points]
    assert points == search(Trainer(SCORES), tmp_path / "others.json")


@pytest.mark.parametrize(
    "content", ["", '[{"learning_rate": 1e-4', "\0" * 40, "[[]]", '[{"learning_rate": "fast"}]', "{}"]
)
def test_a_damaged_file_of_points_is_named_and_the_search_starts_over(tmp_path, capsys, content):
    file, expected = tmp_path / "points.json", search(Trainer(SCORES), tmp_path / "others.json")
    file.write_text(content)
    assert search(Trainer(SCORES), file) == expected
    assert f"{file} is damaged; the search starts over" in capsys.readouterr().err


@pytest.mark.parametrize(("after", "best"), [(1, 1e-5), (2, 1e-4), (4, 1e-4), (5, 1e-4), (6, 1e-3)])
def test_ctrl_c_keeps_the_best_of_the_candidates_that_trained_longest(tmp_path, after, best):
    points = search(Trainer(SCORES, interrupt_at=after), tmp_path / "points.json")
    assert len(points) == after
    assert best_of(points).learning_rate == best


def test_ctrl_c_before_the_first_score_stops_the_command(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        search(Trainer(SCORES, interrupt_at=0), tmp_path / "points.json")


def test_equal_scores_are_compared_by_loss_and_divergence_is_worst(tmp_path):
    results = {
        1e-5: Trained(dev_score=0.7, dev_loss=0.6, p_value=1.0),
        1e-4: Trained(dev_score=0.7, dev_loss=0.5, p_value=1.0),
        1e-3: Trained(dev_score=-0.5, dev_loss=None, p_value=1.0),
        1e-2: DIVERGED,
    }
    points = search(lambda candidate, steps: results[candidate.learning_rate], tmp_path / "points.json")
    assert [point.learning_rate for point in points[4:]] == [1e-4, 1e-5]
    assert best_of(points).learning_rate == 1e-4
