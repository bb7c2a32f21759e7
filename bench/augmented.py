"""What the report says of augmented data."""

from typing import Any


def told(stages: dict[str, Any]) -> list[tuple[str, str]]:
    """What a run's stages of augmentation left, as lines of (what, in words); none where there were none."""
    lines = []
    if "masked_lm" in stages:
        found = stages["masked_lm"]["accuracy"]
        lines.append(
            (
                "masked language model",
                f"its head was trained here; of {found['num_masked']:,} pieces masked in held-out text "
                f"{found['top1']:.1%} are the most probable, {found['top15']:.1%} among the first 15",
            )
        )
    if "augment" in stages:
        lines += words_told(stages["augment"])
        if found := stages["augment"]["drift"] or stages.get("prediction", {}).get("drift"):
            lines.append(("label drift", _drift(found, stages["augment"]["dropped"])))
    return lines


def words_told(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What the augment stage says of words and rows."""
    counts = facts["counts"]
    replaceable = counts["replaceable"]
    left = replaceable - counts["from_masked_lm"] - counts["from_vectors"]
    replaced = counts["replaced_by_masked_lm"] + counts["replaced_by_vectors"]
    variants = counts["variants"] - facts["dropped"]
    num_rows = counts["rows"] - facts["dropped"]
    lines = [
        ("rows", f"{num_rows:,}, of which {variants:,} variants of {counts['texts']:,} texts"),
        (
            "words that may be replaced",
            f"{replaceable:,} of {counts['words']:,}, {_share(replaceable, counts['words'])}",
        ),
        (
            "with candidates from",
            f"the masked language model {_share(counts['from_masked_lm'], replaceable)}, word vectors "
            f"{_share(counts['from_vectors'], replaceable)}; left as they are {_share(left, replaceable)}",
        ),
        (
            "replaced in a variant",
            f"{replaced / max(1, counts['variants']):.1f} words: by the masked language model "
            f"{_share(counts['replaced_by_masked_lm'], replaced)}, by word vectors "
            f"{_share(counts['replaced_by_vectors'], replaced)}",
        ),
        (
            "duplicates",
            f"{counts['again']:,} drawn again; {counts['missing']:,} variants fewer than were wanted, "
            "of texts that allow no more",
        ),
    ]
    if facts["vectors"]:
        vectors = facts["vectors"]
        missing = f": {', '.join(vectors['missing'][:8])} ..." if vectors["num_missing"] else ""
        lines.append(
            (
                "word vectors",
                f"{vectors['num_words']:,} of {vectors['dimension']} numbers; {vectors['num_missing']:,} words "
                f"asked for have none{missing}",
            )
        )
    return lines


def _drift(drift: dict[str, Any], num_dropped: int) -> str:
    if "flips" not in drift:
        return (
            f"the teacher's number changes by {drift['mean_change']:.2f} on average (its spread over the texts is "
            f"{drift['spread']:.2f}), over {drift['num_variants']:,} variants"
        )
    dropped = f"; {num_dropped:,} of them dropped" if num_dropped else ""
    return f"the teacher's label flips in {drift['flips']:.1%} of {drift['num_variants']:,} variants{dropped}"


def _share(part: int, whole: int) -> str:
    return f"{part / max(1, whole):.1%}"
