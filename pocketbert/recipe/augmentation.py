"""The recipe's keys of data augmentation."""

from typing import Annotated

from pydantic import Field, PositiveInt

from pocketbert.recipe.training import CorpusSection, RecipeSection, StageSection


class TrainHeadSection(CorpusSection, StageSection):
    """A masked-language-model head, for an encoder that ships without one."""

    key = "augment.masked_lm.train_head"
    epochs: PositiveInt = 1
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 5e-4
    max_length: Annotated[int, Field(ge=8)] = Field(64, description="Tokens of a block of text")
    frozen: bool = Field(False, description="Leave the encoder as it is, and train the head alone: faster, weaker")


class MaskedLMSection(RecipeSection):
    """The masked language model that says what could stand in a word's place."""

    model: str | None = Field(
        None, description="Folder, Hub name or package:NAME/DIR; default: teacher.base, or else teacher.model"
    )
    train_head: TrainHeadSection | None = Field(
        None, description="Train a head for it on running text, where it ships without one"
    )


class AugmentSection(RecipeSection):
    """TinyBERT's data augmentation: variants of the train texts for both stages of task distillation."""

    masked_lm: MaskedLMSection = Field(MaskedLMSection(), description="For words that are one piece to it")
    vectors: str | None = Field(
        None,
        description="Word vectors, for words that are several: GloVe or word2vec text (.txt, .vec, .gz, .zip), "
        "word2vec or fastText .bin, or package:NAME/DIR; without them those words stay",
    )
    max_vectors: PositiveInt = Field(400_000, description="Words to read of the vectors, the most frequent")
    variants: PositiveInt = Field(20, description="N: variants of each text (of a pair, of each of its two)")
    probability: Annotated[float, Field(gt=0, le=1)] = Field(0.4, description="p: of replacing a word in a variant")
    candidates: Annotated[int, Field(ge=1, le=1000)] = Field(15, description="K: words that one is drawn from")
    stop_words: str = Field("english", description="Words never replaced: english, none, or a file, one a line")
    drop_flips_above: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="Drop variants to which the teacher gives another label with more than this probability"
    )
