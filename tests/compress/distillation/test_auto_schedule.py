import math

import pytest

from compress.distillation import auto_schedule


@pytest.mark.parametrize(
    ("num_rows", "num_classes", "epochs"),
    [(100, 2, 15), (1000, 2, 15), (5000, 7, 5), (8000, 28, 3), (10_000, 77, 4), (15_000, 150, 5), (400_000, 2, 3)],
)
def test_small_tables_and_many_classes_get_more_epochs(num_rows, num_classes, epochs):
    batch_size = auto_schedule.batch_size(num_rows)
    assert auto_schedule.epochs_for(800, num_rows, num_classes, batch_size) == epochs


def test_every_class_gets_its_steps_unless_the_table_is_small():
    num_checked = 0
    for num_classes in (2, 10, 77, 150):
        for num_rows in (20 * num_classes, 200 * num_classes, 2000 * num_classes):
            size = auto_schedule.batch_size(num_rows)
            epochs = auto_schedule.epochs_for(800, num_rows, num_classes, size)
            num_steps = epochs * math.ceil(num_rows / size)
            is_small = epochs == auto_schedule.MAX_EPOCHS
            assert is_small or num_steps >= 0.8 * max(800, auto_schedule.STEPS_PER_CLASS * num_classes)
            num_checked += not is_small
    assert num_checked > 6


def test_a_mean_over_classes_needs_more_steps_for_rare_classes():
    def epochs(num_classes: int, equal: bool) -> int:
        return auto_schedule.epochs_for(800, 8000, num_classes, 32, classes_count_equally=equal)

    assert [(epochs(count, False), epochs(count, True)) for count in (2, 28, 77)] == [(3, 3), (3, 7), (5, 15)]


def test_wide_models_get_smaller_rates():
    rates = [auto_schedule.fine_tune_rate(width) for width in (128, 384, 768, 1024)]
    assert rates == [1e-4, 1e-4, 3e-5, 1e-5]
    for width, usual in zip((128, 384, 768, 1024), rates, strict=True):
        searched = auto_schedule.fine_tune_rates(width)
        assert usual in searched and searched == sorted(set(searched))
    assert auto_schedule.layer_wise_rate(192) > auto_schedule.layer_wise_rate(312) > auto_schedule.layer_wise_rate(768)


def test_few_texts_get_more_steps_of_intermediate_layer_distillation():
    steps = [auto_schedule.intermediate_steps(num_texts) for num_texts in (100, 2000, 2001, 100_000)]
    assert steps[0] == steps[1] > steps[2] == steps[3]
