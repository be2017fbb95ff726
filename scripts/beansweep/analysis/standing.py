"""What limits and the pick are decided by: the table of candidates in arrays.

The report reads the table once. To see how stable the pick is, it is made a thousand times.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

# Columns that hold, for each candidate, the names of those that validation images show to be better
# than it: in macro-F1, in defects missed and in good images rejected.
COMPARISONS = ("val_beaten_by", "val_misses_more_than", "val_rejects_more_than")


@dataclass(frozen=True)
class Standing:
    """Candidates as the pick sees them.

    Attributes
    ----------
    figures : column of the table of candidates -> float [candidates]
    worse : each of COMPARISONS -> bool [candidates, candidates], true at [i, j] where i is shown to
        be worse than j
    eligible : bool [candidates], neither a baseline nor timed on another machine
    portable : bool [candidates], with the same predictions on every instruction set
    """

    figures: Mapping[str, np.ndarray]
    worse: Mapping[str, np.ndarray]
    eligible: np.ndarray
    portable: np.ndarray


def of(candidates: pd.DataFrame) -> Standing:
    """What the table of candidates says, in arrays."""
    numbers = candidates.select_dtypes("number")
    return Standing(
        figures=dict(zip(map(str, numbers), numbers.to_numpy(float).T, strict=True)),
        worse={column: _matrix(candidates, column) for column in COMPARISONS},
        eligible=~(candidates["baseline"] | candidates["timed_elsewhere"]).to_numpy(bool),
        portable=(candidates["portability"] == "").to_numpy(bool),
    )


def _matrix(candidates: pd.DataFrame, column: str) -> np.ndarray:
    """A column of lists of names as bool [candidates, candidates]."""
    return np.array([candidates.index.isin(names) for names in candidates[column]], bool)
