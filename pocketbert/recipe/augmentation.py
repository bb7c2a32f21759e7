"""Recipe sections of data augmentation."""

from typing import Annotated

from pydantic import Field

from pocketbert.recipe.training import MOST_TOKENS, CorpusSection, Epochs, LearningRate, RecipeSection, StageSection


class TrainHeadSection(CorpusSection, StageSection):
    """Training of a masked-language-model head, for a model that ships without one."""

    key = "augment.masked_lm.train_head"
    epochs: Epochs = 1
    learning_rate: LearningRate = 5e-4
    max_length: Annotated[int, Field(ge=8, le=MOST_TOKENS)] = Field(
        64, description="Tokens per block, special tokens included"
    )
    frozen: bool = Field(
        False, description="Train the head only, and leave the encoder unchanged: faster, but a weaker model"
    )


class MaskedLMSection(RecipeSection):
    """The masked language model that proposes replacements."""

    model: str | None = Field(
        None,
        description="Masked language model: a folder, a Hub name or package:NAME/DIR; default: teacher.base, or "
        "teacher.model without a base",
    )
    train_head: TrainHeadSection | None = Field(
        None, description="Train a head on running text, for a model without one; default: use the model's own head"
    )


class AugmentSection(RecipeSection):
    """TinyBERT's data augmentation: copies of the train texts with some words replaced."""

    masked_lm: MaskedLMSection = Field(
        MaskedLMSection(), description="Masked language model, for words that are one token"
    )
    vectors: str | None = Field(
        None,
        description="Word vectors, for words of several tokens: GloVe or word2vec text (.txt, .vec, .gz, .zip), "
        "word2vec or fastText .bin, or package:NAME/DIR; default: none, and such words stay as they are",
    )
    max_vectors: Annotated[int, Field(gt=0, le=100_000_000)] = Field(
        400_000, description="Largest number of word vectors to read; files list the most frequent words first"
    )
    copies_per_text: Annotated[int, Field(gt=0, le=1000)] = Field(
        20, description="Augmented copies per train text (N_a in the paper); a pair has two texts"
    )
    probability: Annotated[float, Field(gt=0, le=1)] = Field(
        0.4, description="Probability of replacing a word (p_t in the paper)"
    )
    candidates: Annotated[int, Field(ge=1, le=1000)] = Field(
        15, description="Candidates from which a replacement is sampled (K in the paper)"
    )
    stop_words: str = Field(
        "english", description="Words that are never replaced: english, none, or a file with one word per line"
    )
    drop_flips_above: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None,
        description="Drop an augmented text if the teacher gives it another label with more than this probability; "
        "default: keep all",
    )
