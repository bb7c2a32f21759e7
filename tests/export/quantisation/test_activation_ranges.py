"""Activation ranges, and the rows that they are measured on."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compress.common.errors import UserError
from compress.data.columns import Split
from compress.models.loading import load_classifier
from export.build_bundles import EvaluationSplits, ExportOptions, Origin, build_bundles
from export.parity.comparison import default_tolerance
from export.quantisation.activation_ranges import ActivationHistogram, ActivationRange, measure_ranges
from export.quantisation.calibration import calibration_rows
from export.quantisation.static_int8 import StaticOptions
from export.quantisation.variants import VARIANTS


def test_a_histogram_keeps_exact_extremes_and_approximate_percentiles():
    generator = np.random.default_rng(0)
    batches = [generator.normal(size=(7, 500)) * 3 for _ in range(40)]
    histogram = ActivationHistogram()
    for batch in batches:
        histogram.add(batch)
    values = np.concatenate(batches).ravel()
    assert histogram.counts.sum() == len(values) and histogram.counts.nbytes == 4096 * 8
    assert (histogram.low, histogram.high) == (values.min(), values.max())
    low, high = histogram.between(0.99)
    step = 2 * histogram.limit / 4096
    expected = np.quantile(values, [0.005, 0.995])
    assert abs(low - expected[0]) <= step and abs(high - expected[1]) <= step
    assert np.mean((values < low) | (values > high)) <= 0.01
    assert histogram.between(1.0) == pytest.approx((values.min(), values.max()), abs=step)


def test_a_range_represents_0_exactly_and_its_ends_within_one_step():
    for low, high in ((-1.0, 3.0), (0.0, 5.0), (-2.0, 0.0), (0.0, 0.0)):
        activation = ActivationRange(low=low, high=high)
        numbers = np.clip(np.round(np.array([low, 0.0, high]) / activation.scale) + activation.zero_point, 0, 255)
        dequantised = (numbers - float(activation.zero_point)) * activation.scale
        np.testing.assert_allclose(dequantised, [low, 0.0, high], atol=float(activation.scale))
        assert dequantised[1] == 0


def test_ranges_are_measured_for_the_named_tensors(tmp_path):
    twice = helper.make_node("Add", ["x", "x"], ["twice"])
    negative = helper.make_node("Neg", ["twice"], ["y"])
    graph = helper.make_graph(
        [twice, negative], "doubled",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "a.onnx")
    batches = [{"x": np.array(values, dtype=np.float32)} for values in ([1.0, 2.0], [-0.5], [3.0])]
    assert measure_ranges(tmp_path / "a.onnx", ["twice", "y"], batches) == {
        "twice": ActivationRange(low=-1.0, high=6.0), "y": ActivationRange(low=-6.0, high=1.0),
    }  # fmt: skip


def test_calibration_rows_are_stratified_and_depend_on_the_seed():
    labels = np.array([0] * 90 + [1] * 8 + [2] * 2)
    train = Split(texts=[str(number) for number in range(100)], pairs=None, labels=labels)
    sample = calibration_rows(train, task_type="classification", seed=0, count=30)
    assert np.bincount(sample.labels).tolist() == [20, 8, 2]
    assert sample.texts == calibration_rows(train, task_type="classification", seed=0, count=30).texts
    assert sample.texts != calibration_rows(train, task_type="classification", seed=1, count=30).texts
    numbers = Split(texts=train.texts, pairs=None, labels=np.linspace(0, 1, 100))
    assert len(calibration_rows(numbers, task_type="regression", seed=0, count=30)) == 30


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["the film", "of it"], "1 of its 2 rows are also in dev or test, the first 'the film'"),
        (None, "int8-static needs calibration rows .* got none"),
    ],
)
def test_calibration_on_held_out_rows_or_without_rows_is_rejected(tmp_path, teacher_folder, tokenizer, texts, message):
    static = VARIANTS["int8-static"]
    dev = Split(texts=["the film", "a story"], pairs=None, labels=np.array([0, 1]))
    calibration = texts and Split(texts=texts, pairs=None, labels=np.array([0, 1]))
    options = ExportOptions(
        task_type="classification", metric="accuracy", max_length=32,
        tolerances={static: default_tolerance(static)}, static=StaticOptions(),
    )  # fmt: skip
    with pytest.raises(UserError, match=message):
        build_bundles(
            load_classifier(str(teacher_folder)), tokenizer, tmp_path,
            splits=EvaluationSplits(dev=dev, calibration=calibration), options=options,
            origin=Origin(name="tiny", origin={}, versions={}, measured={}), on_progress=print,
        )  # fmt: skip
