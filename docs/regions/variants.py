"""The export variants: size, accuracy, parity, speed and runtime versions, from the files in results/export."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bench.results.measurements import Machine, Ratio
from export.quantisation.variants import DEFAULT_VARIANTS
from export.results import ExportSteps, MetricDifference, Parity, VariantResult
from regions.cells import listed, machine_words, megabytes, ratio, read_json, table

SHAPES = ("1x16", "1x64", "1x128", "16x16", "16x64", "16x128")
STORED_AND_COMPUTED = {
    "fp32": ("fp32", "fp32"),
    "fp16": ("fp16", "fp16"),
    "int8-dynamic": ("int8", "uint8, ranges of each call"),
    "int8-static": ("int8", "uint8, fixed ranges"),
    "int4-static": ("4 bits, unpacked to int8", "uint8, fixed ranges"),
    "int8-weight": ("int8, block-wise", "int8, row by row"),
    "int4-weight": ("4 bits, block-wise", "int8, row by row"),
}


@dataclass(frozen=True, kw_only=True)
class _Variant:
    """One variant: its measurements on dev, its parity on test, and its speedup over the graph as the library fuses it.

    `dev` and `test` are None for the two graphs that are no variants: as the library fuses and quantises them.
    """

    dev: VariantResult | None
    test: Parity | None
    speedups: dict[str, Ratio]


def _content(results: Path) -> Any:
    return read_json(results / "export" / "variants.json")


@cache
def _adapter(of: Any) -> TypeAdapter[Any]:
    return TypeAdapter(of)


def _variants(results: Path) -> dict[str, _Variant]:
    return {
        name: _Variant(
            dev=_adapter(VariantResult | None).validate_python(fields.get("dev")),
            test=_adapter(Parity | None).validate_python(fields.get("test_parity")),
            speedups=_adapter(dict[str, Ratio]).validate_python(fields["times_as_fast_as_the_fused_graph"]),
        )
        for name, fields in _content(results)["variants"].items()
    }


def _measured(results: Path) -> dict[str, tuple[VariantResult, Parity]]:
    """The dev measurements and the test parity of each variant that has them."""
    pairs = {name: (variant.dev, variant.test) for name, variant in _variants(results).items()}
    return {name: (dev, test) for name, (dev, test) in pairs.items() if dev is not None and test is not None}


def _shift(parity: Parity) -> float:
    return max(parity.batch_invariance.batch_shift, parity.batch_invariance.padding_shift)


def variants_summary(results: Path) -> str:
    """One row per variant for docs/variants.md."""
    rows = []
    variants = _variants(results)
    for name, (stored, computed) in STORED_AND_COMPUTED.items():
        variant = variants[name]
        assert variant.dev is not None and variant.dev.size_bytes is not None
        parity = variant.dev.parity
        rows.append(
            (
                f"`{name}`",
                f"{stored}; {computed}",
                megabytes(variant.dev.size_bytes),
                f"{parity.score:.3f}",
                str(parity.num_label_flips),
                ratio(variant.speedups["1x64"]),
                ratio(variant.speedups["16x64"]),
            )
        )
    header = ("variant", "weights; activations", "bundle", "accuracy", "label flips", "1 x 64 tokens", "16 x 64 tokens")
    return table(header, rows, text_columns=(0, 1))


def variants_machine(results: Path) -> str:
    """The rows that the accuracy is of, torch's accuracy on them, and the machine."""
    content = _content(results)
    num_rows = _measured(results)["fp32"][0].parity.num_rows
    machine = _adapter(Machine).validate_python(content["machine"])
    return f"On the {num_rows} rows torch scores {content['torch']['dev']:.3f}. Machine: {machine_words(machine)}."


def variants_parity(results: Path) -> str:
    """Size, accuracy and parity with torch of every variant."""
    rows = []
    for name, (dev, test) in _measured(results).items():
        assert dev.size_bytes is not None
        shift = _shift(dev.parity)
        rows.append(
            (
                name,
                megabytes(dev.size_bytes),
                f"{dev.parity.score:.4f}",
                f"{test.score:.4f}",
                str(dev.parity.num_label_flips),
                f"{dev.parity.logit_error:.2g}",
                "0" if dev.parity.batch_invariance.is_invariant else f"{shift:.1g}",
            )
        )
    header = ("variant", "bundle", "accuracy, dev", "test", "label flips, dev", "logit error", "change when batched")
    return table(header, rows)


def variants_torch(results: Path) -> str:
    """The same model in torch, and how closely the exported and the fused graph agree with it."""
    content = _content(results)
    steps = _adapter(ExportSteps).validate_python(content["steps"])
    furthest = max(steps.exported.max_logit_error, steps.fused.max_logit_error)
    dev, test = _measured(results)["fp32"]
    return (
        f"In torch it scores {content['torch']['dev']:.4f} on {dev.parity.num_rows} dev rows and "
        f"{content['torch']['test']:.4f} on {test.num_rows:,} test rows. The exported graph and the fused graph agree "
        f"with torch to {furthest:.0e} in every logit."
    )


def variants_speed(results: Path) -> str:
    """Speedup over the graph as the library fuses it, by shape."""
    header = ("variant", *(shape.replace("x", " x ") for shape in SHAPES))
    rows = [
        (name, *("1" if name == "fp32-as-fused" else ratio(variant.speedups[shape]) for shape in SHAPES))
        for name, variant in _variants(results).items()
    ]
    return table(header, rows)


def variants_reduced(results: Path) -> str:
    """7-bit weights compared with 8-bit ones."""
    full = _measured(results)
    rows = []
    for name, fields in _content(results)["reduce_range"].items():
        reduced = _adapter(VariantResult).validate_python(fields).parity
        before = full[name][0].parity
        rows.append(
            (
                name,
                str(before.num_label_flips),
                str(reduced.num_label_flips),
                f"{before.logit_error:.4f}",
                f"{reduced.logit_error:.4f}",
            )
        )
    return table(("variant", "label flips, 8 bits", "7 bits", "logit error, 8 bits", "7 bits"), rows)


def variants_range(results: Path) -> str:
    """The accuracy of 7-bit weights compared with 8-bit ones, with paired intervals."""
    rows = []
    for line in read_json(results / "export" / "reduce_range.json")["comparisons"]:
        difference = _adapter(MetricDifference).validate_python(line["difference"])
        rows.append(
            (
                line["variant"],
                f"{line['split']}, {line['num_rows']:,}",
                f"{line['fp32']:.4f}",
                f"{line['full']:.4f}",
                f"{line['reduced']:.4f}",
                f"{difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})",
                str(line["num_label_changes"]),
            )
        )
    header = ("variant", "rows", "fp32", "8 bits", "7 bits", "difference", "labels changed")
    return table(header, rows, text_columns=(0, 1))


def variants_runtimes(results: Path) -> str:
    """The labels that change in each version of onnxruntime, and the largest difference of a probability."""
    content = read_json(results / "export" / "runtime_versions.json")
    outcomes: Mapping[str, Mapping[str, Mapping[str, Any]]] = content["outcomes"]
    versions = list(next(iter(outcomes.values())))
    rows = [
        (version, *(_runtime_outcome(outcomes[name][version]) for name in outcomes))
        for version in versions
        if version != content["reference"]
    ]
    return table(("onnxruntime", *outcomes), rows)


def _runtime_outcome(outcome: Mapping[str, Any]) -> str:
    if "error" in outcome:
        return "does not load"
    labels = max(outcome["changed_labels"], outcome["changed_labels_in_batches"])
    shift = max(outcome["largest_difference"], outcome["largest_difference_in_batches"])
    return f"{labels}; {shift:.2g}" if shift >= 1e-5 else f"{labels}; 0"


def variants_portable(results: Path) -> str:
    """The graph of standard operators compared with that of version 0.5.0."""
    rows = []
    for pair in read_json(results / "export" / "portable.json")["pairs"]:
        before, after, size = pair["before"], pair["after"], pair["bytes"]
        ratios = [
            ratio(Ratio(value=line["ratio"], low=line["low"], high=line["high"])) for line in pair["latency"].values()
        ]
        rows.append(
            (
                pair["name"],
                *ratios,
                f"{size['after'] / size['before'] - 1:+.2%}",
                f"{before['load_ms']:.0f}, {after['load_ms']:.0f} ms",
                f"{before['resident_mib']:.0f}, {after['resident_mib']:.0f} MiB",
            )
        )
    return table(("variant", "1 x 16", "1 x 128", "32 x 128", "bytes", "load, before and after", "memory"), rows)


def variants_without_vnni(results: Path) -> str:
    """The largest change of a logit on an emulated processor without VNNI, with and without the session option."""
    rows = [
        (name, f"{shift['without_the_option']:.2g}", f"{shift['with_it']:.2g}", str(shift["labels_changed"]))
        for name, shift in _content(results)["haswell_emulated_against_here"].items()
    ]
    return table(("variant", "option not set", "`session.x64quantprecision` set", "labels changed"), rows)


def variants_saturation(results: Path) -> str:
    """How far logits move without VNNI where nothing prevents it."""
    shifts = [
        emulated["without_the_option"]
        for name, emulated in _content(results)["haswell_emulated_against_here"].items()
        if name in DEFAULT_VARIANTS
    ]
    return f"{max(shifts):.1g}"


def variants_dynamic_shift(results: Path) -> str:
    """How far a probability of int8-dynamic moves when batched."""
    return f"{_shift(_measured(results)['int8-dynamic'][0].parity):.2g}"


def variants_browser(results: Path) -> str:
    """Speed in onnxruntime-web, and agreement with onnxruntime."""
    rows = [
        (
            Path(line["bundle"]).name,
            ratio(Ratio(value=line["times"], low=line["low"], high=line["high"])),
            f"{line['largest_logit_difference']:.1g}",
            str(line["label_changes"]),
        )
        for line in _content(results)["browser"]
    ]
    return table(("variant", "times as fast", "largest difference of a logit", "labels changed"), rows)


def variants_browser_facts(results: Path) -> str:
    """The static variants in the browser: speed and agreement."""
    lines = [
        line for line in _content(results)["browser"] if Path(line["bundle"]).name in ("int8-static", "int4-static")
    ]
    speeds = listed([f"{line['times']:.2f}" for line in lines])
    furthest = max(line["largest_logit_difference"] for line in lines)
    changed = sum(line["label_changes"] for line in lines)
    return (
        f"`int8-static` and `int4-static` are {speeds} times as fast as the fused fp32 graph. Their logits differ from "
        f"those of onnxruntime on a server by up to {furthest:.1g}; {changed or 'no'} labels change."
    )


def variants_vocabulary(results: Path) -> str:
    """The variants of the student with 8,000 tokens."""
    rows = []
    for name, fields in _vocabulary(results).items():
        parity = _adapter(Parity).validate_python(fields["parity"])
        rows.append(
            (
                name,
                f"{fields['size_bytes'] / 1e6:.2f} MB",
                f"{fields['scores']['dev']:.4f}",
                f"{fields['scores']['test']:.4f}",
                f"{parity.score / parity.torch_score:.1%}",
                str(parity.num_label_flips),
                "no" if fields["failures"] else "yes",
            )
        )
    header = ("variant", "bundle", "accuracy, dev", "test", "share of torch's, dev", "label flips", "passes the gate")
    return table(header, rows)


def variants_vocabulary_torch(results: Path) -> str:
    """Torch's accuracy of that student."""
    return f"{_vocabulary(results)['fp32']['parity']['torch_score']:.4f}"


def variants_cold_start(results: Path) -> str:
    """Time and memory from the start of a process to the first prediction."""
    rows = [
        (
            row["name"],
            f"{row['ms']:,.0f}",
            f"{row['lowest_ms']:,.0f} to {row['highest_ms']:,.0f}",
            f"{row['memory_mib']:.0f}",
        )
        for row in read_json(results / "export" / "cold_start.json")["rows"]
    ]
    return table(("model", "ms", "lowest and highest", "memory, MiB"), rows)


def _vocabulary(results: Path) -> Mapping[str, Any]:
    variants: Mapping[str, Any] = _content(results)["vocabulary_of_8000"]
    return variants


REGIONS = {
    "variants-summary": variants_summary,
    "variants-machine": variants_machine,
    "variants-parity": variants_parity,
    "variants-torch": variants_torch,
    "variants-speed": variants_speed,
    "variants-reduced": variants_reduced,
    "variants-range": variants_range,
    "variants-runtimes": variants_runtimes,
    "variants-portable": variants_portable,
    "variants-cold-start": variants_cold_start,
    "variants-without-vnni": variants_without_vnni,
    "variants-saturation": variants_saturation,
    "variants-dynamic-shift": variants_dynamic_shift,
    "variants-browser": variants_browser,
    "variants-browser-facts": variants_browser_facts,
    "variants-vocabulary": variants_vocabulary,
    "variants-vocabulary-torch": variants_vocabulary_torch,
}
