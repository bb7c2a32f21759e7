"""Tables from which nothing can be learned, recognised before any training."""

import numpy as np

from compress.common.errors import NotGoodEnough, UserError
from compress.data.columns import require_rows_per_class
from compress.data.task_types import task_type
from compress.data.tasks import MIN_ROWS, Task


def require_learnable(task: Task) -> None:
    """Raise NotGoodEnough if the rows differ too little, or if the classes have too few rows.

    Texts that differ only in case and blanks count as equal. Raises UserError if all labels of train are equal.
    """
    different = set[tuple[str, ...]]()
    for row in task.train.rows():
        different.add(tuple(" ".join(cell.split()).casefold() for cell in row))
        if len(different) == MIN_ROWS:  # usually after ten rows
            break
    else:
        raise NotGoodEnough(
            f"{task.name}: train has only {len(different)} different {'text' if len(different) == 1 else 'texts'}; "
            f"expected at least {MIN_ROWS}, so that a model can learn from them"
        )
    if np.ptp(task.train.labels) == 0:
        raise UserError(f"{task.name}: the {len(task.train)} rows of train have one and the same label; expected more")
    if task_type(task.type).has_classes:
        require_rows_per_class(task.name, task.train.labels)
