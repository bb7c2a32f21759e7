"""Which encoders can be teachers, and why others can't; loads neither torch nor transformers."""

WITH_CARRIED_WEIGHTS = ("bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta")
WITHOUT = {  # teachers by their losses alone
    "albert": "its layers share their weights",
    "modernbert": "it has rotary positions and gated feed-forward layers",
}
TEACHERS = tuple(sorted((*WITH_CARRIED_WEIGHTS, *WITHOUT)))
KEEPS_ITS_SCORES = ("deberta", "deberta-v2", "mpnet")
POSITIONS_BEHIND_PADDING = ("camembert", "roberta", "xlm-roberta")
