"""What may be deployed: the limits of `deploy` in the configuration, and the objective of the pick."""

import pandas as pd

# config key -> (column, sense): +1 where the value must be at least the limit, -1 at most. Of what
# is estimated the end of the interval must keep the limit, not the estimate.
CONSTRAINTS = {
    "min_macro_f1": ("val_macro_f1_low", +1),
    "max_missed_defect_rate": ("val_missed_defect_rate_high", -1),
    "max_megabytes": ("megabytes", -1),
    "max_p50_ms": ("p50_high_ms", -1),
}

# objective -> (column, sense): +1 for the most, -1 for the least.
OBJECTIVES = {
    "macro_f1": ("val_macro_f1", +1),
    "p50_ms": ("p50_ms", -1),
    "megabytes": ("megabytes", -1),
}


def satisfied(candidates: pd.DataFrame, deploy: dict) -> pd.DataFrame:
    """Which candidate meets which constraint: bool, a column for each limit that is set."""
    return pd.DataFrame(
        {
            key: sense * candidates[column] >= sense * deploy[key]
            for key, (column, sense) in CONSTRAINTS.items()
            if deploy[key] is not None
        },
        index=candidates.index,
    )
