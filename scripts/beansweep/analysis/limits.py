"""What may be deployed: a table of the limits of `deploy` in config.yaml, and one of objectives.

The check, the words of the report, its tables and the sliders of its page all follow from these
two tables. A limit on a column that exists is one entry here, a key of the schema and a key of
config.yaml.
"""

import re
from dataclasses import dataclass

import numpy as np

from beansweep.analysis.standing import Standing

AT_LEAST, AT_MOST = 1, -1


@dataclass(frozen=True)
class Limit:
    """A limit of `deploy`.

    Attributes
    ----------
    key : in config.yaml
    column : of the table of candidates; for an estimate it is the unfavourable end of the interval
    direction : AT_LEAST or AT_MOST
    name : of the limited figure, in words
    digits : decimals in words
    unit : after the value in words, with its space
    scale : from the column's unit to the unit in words
    relative : `nearest` measures the distance from the limit as a share of the limit
    worse : of an estimate, the column of the candidates that are shown to be better in it
    """

    key: str
    column: str
    direction: int
    name: str
    digits: int
    unit: str = ""
    scale: float = 1
    relative: bool = False
    worse: str = ""

    @property
    def inclusive(self) -> str:
        """The direction in words, where the value of the limit itself is allowed."""
        return "at least" if self.direction == AT_LEAST else "at most"

    @property
    def exclusive(self) -> str:
        """The direction in words, where the value of the limit itself is not allowed."""
        return "above" if self.direction == AT_LEAST else "below"

    @property
    def estimate(self) -> str:
        """The column of the estimate, where `column` is an end of its interval."""
        return re.sub(r"_(low|high)(?=_ms$|$)", "", self.column)

    def value(self, number: float) -> str:
        """A value of the limited figure in words: `8.0%`."""
        return f"{self.scale * number:.{self.digits}f}{self.unit}"

    def distance(self, number: float) -> str:
        """A difference of two values in words; percentages differ by points."""
        unit = " points" if self.unit == "%" else self.unit
        return f"{self.scale * abs(number):.{self.digits}f}{unit}"

    def words(self, number: float, strict: bool = False) -> str:
        """The whole limit in words: `p50 at most 2.00 ms`, or `p50 below 2.00 ms` where strict."""
        return f"{self.name} {self.exclusive if strict else self.inclusive} {self.value(number)}"

    def met(self, values, number: float):
        """Whether values, one or an array, keep the limit; a missing value does not."""
        return self.direction * values >= self.direction * number


@dataclass(frozen=True)
class Objective:
    """What the pick is the best in.

    Attributes
    ----------
    key : value of `deploy.objective` in config.yaml
    column : of the table of candidates
    direction : 1 for the most, -1 for the least
    name : of the figure, in words
    best : the best value, in words
    """

    key: str
    column: str
    direction: int
    name: str
    best: str


LIMITS = [
    Limit(
        "min_macro_f1",
        "val_macro_f1_low",
        AT_LEAST,
        "validation macro-F1",
        digits=3,
        worse="val_beaten_by",
    ),
    # Kept by every operating point that the defects can vouch for, see `operating_point`.
    Limit(
        "max_missed_defect_rate",
        "val_missed_defect_rate_high",
        AT_MOST,
        "share of defects missed",
        digits=2,
        unit="%",
        scale=100,
    ),
    Limit(
        "max_rejected_good_rate",
        "val_rejected_good_rate_high",
        AT_MOST,
        "share of good ones rejected on validation",
        digits=1,
        unit="%",
        scale=100,
        worse="val_rejects_more_than",
    ),
    Limit("max_megabytes", "megabytes", AT_MOST, "size", digits=2, unit=" MB", relative=True),
    Limit("max_p50_ms", "p50_high_ms", AT_MOST, "p50", digits=2, unit=" ms", relative=True),
]

REJECTED_GOOD = Objective(
    "rejected_good_rate",
    "val_rejected_good_rate",
    -1,
    "share of good ones rejected on validation",
    "the fewest good ones rejected on validation",
)
MACRO_F1 = Objective(
    "macro_f1", "val_macro_f1", 1, "validation macro-F1", "the highest validation macro-F1"
)
P50 = Objective("p50_ms", "p50_ms", -1, "p50", "the lowest p50")
# In the order in which they break a tie; estimates come last, since other images change them.
OBJECTIVES = [
    P50,
    Objective("megabytes", "megabytes", -1, "size", "the smallest file"),
    REJECTED_GOOD,
    MACRO_F1,
]


def limits_set(deploy: dict) -> list[Limit]:
    """The limits that a configuration sets."""
    return [limit for limit in LIMITS if deploy[limit.key] is not None]


def objective(deploy: dict) -> Objective:
    """The objective that a configuration asks for."""
    return next(known for known in OBJECTIVES if known.key == deploy["objective"])


def satisfied(standing: Standing, deploy: dict) -> dict[str, np.ndarray]:
    """Which candidate keeps which limit.

    An exact figure keeps its limit or not. An estimate keeps it where the unfavourable end of its
    interval does. Candidates that the images cannot tell apart are treated alike: an estimate also
    keeps it where it is itself within the limit, and where the images do not show it to be worse
    than the best of those that keep it.

    Returns
    -------
    Key of each limit that is set -> bool [candidates]
    """
    return {limit.key: _keeps(standing, limit, deploy[limit.key]) for limit in limits_set(deploy)}


def _keeps(standing: Standing, limit: Limit, number: float) -> np.ndarray:
    """Which candidates keep one limit: bool [candidates]."""
    kept = limit.met(standing.figures[limit.column], number)
    if not limit.worse or not kept.any():
        return kept
    estimates = standing.figures[limit.estimate]
    best = np.argmax(np.where(kept, limit.direction * estimates, -np.inf))
    alike = limit.met(estimates, number) & ~standing.worse[limit.worse][:, best]
    return kept | alike
