"""Parts that the stages share: the context of a run, the tokenised task, and trainings."""
