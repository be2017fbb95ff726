"""The text of the pick: which candidate, why, and what would change it."""

import pandas as pd

from beansweep.analysis import limits, pick
from beansweep.report import markdown


def text(candidates: pd.DataFrame, deploy: dict, confidence: float) -> str:
    """The pick, why it was picked, and what would change it, in Markdown.

    Parameters
    ----------
    candidates : the table of candidates
    deploy : limits and objective, as in config.yaml
    confidence : of the intervals
    """
    chosen = pick.choose(candidates, deploy)
    reasons = [_wanted(deploy, confidence)]
    if chosen is None:
        lead = _nothing(candidates, deploy)
    else:
        row = candidates.loc[chosen]
        lead = (
            f"**Pick: {markdown.name(row)}**: {markdown.summary(row)}, "
            f"{row['images_per_second']:.0f} images/s."
        )
        reasons += [
            _why(candidates, deploy),
            _tie(candidates, deploy),
            _on_test(candidates, chosen, deploy),
        ]
    changes = _changes(candidates, deploy, chosen)
    paragraphs = [lead, " ".join(filter(None, reasons)), "What would change it:", changes]
    return "\n\n".join(paragraphs)


def _wanted(deploy: dict, confidence: float) -> str:
    """What was asked for."""
    wanted = [limit.words(deploy[limit.key]) for limit in limits.limits_set(deploy)]
    conditions = f"with {'; '.join(wanted)}" if wanted else "no limits"
    return (
        f"Wanted: {limits.objective(deploy).best}, {conditions}. "
        f"An estimate has to keep its limit with the whole of its {confidence:.0%} interval."
    )


def _nothing(candidates: pd.DataFrame, deploy: dict) -> str:
    """That no candidate may be deployed, and which is the nearest."""
    label, broken = pick.nearest(candidates, deploy)
    row = candidates.loc[label]
    missed = []
    for limit in limits.limits_set(deploy):
        if limit.key in broken:
            by = limit.distance(broken[limit.key])
            missed.append(f"{limit.words(deploy[limit.key])} is missed by {by}")
    return (
        f"**No candidate may be deployed.** The nearest is {markdown.name(row)} "
        f"({markdown.summary(row)}): {'; '.join(missed)}."
    )


def _why(candidates: pd.DataFrame, deploy: dict) -> str:
    """How the pick came out of all candidates."""
    allowed = int(limits.satisfied(candidates, deploy).all(axis=1).sum())
    barred = int((candidates["barred"] != "").sum())
    unbeaten = len(pick.unbeaten(candidates, deploy))
    text = f"{allowed} of {len(candidates)} candidates keep every limit. "
    if barred:
        *goals, last = [goal.name for goal in limits.OBJECTIVES]
        text += (
            f"{barred} candidate(s) are never picked: each is a baseline, or was timed on another "
            f"machine, or another candidate is at least as good in {', '.join(goals)} and {last}, "
            "better in one of them, and not shown to be worse in anything. "
        )
    return text + (
        f"Of the others that keep every limit, {unbeaten} {'is' if unbeaten == 1 else 'are'} not "
        "shown to be worse in macro-F1 than another; of these the pick has "
        f"{limits.objective(deploy).best}."
    )


def _tie(candidates: pd.DataFrame, deploy: dict) -> str:
    """Which candidates tie with the pick; empty where none does."""
    tied = pick.tied(candidates, deploy)
    if not tied:
        return ""
    return (
        f"**A tie**: its {limits.objective(deploy).name} cannot be told apart from that of "
        f"{markdown.names(candidates, tied)}."
    )


def _on_test(candidates: pd.DataFrame, chosen, deploy: dict) -> str:
    """What the test images say of the pick; they played no part in the choice."""
    row = candidates.loc[chosen]
    broken, unsure = [], []
    for limit in limits.limits_set(deploy):
        words = limit.words(deploy[limit.key]).replace("validation", "test")
        if not limit.met(row[_of_test(limit.estimate)], deploy[limit.key]):
            broken.append(words)
        elif not limit.met(row[_of_test(limit.column)], deploy[limit.key]):
            unsure.append(words)
    if broken:
        verdict = f"**On them it breaks {' and '.join(broken)}**: more validation images would help"
    elif unsure:
        verdict = f"On them its estimate keeps {' and '.join(unsure)}, but its interval does not"
    else:
        verdict = "On them it keeps the same limits"
    better = row["test_beaten_by"]
    are_better = "no candidate is"
    if better:
        are_better = f"{markdown.names(candidates, better)} {'is' if len(better) == 1 else 'are'}"
    return (
        f"The test images played no part in the choice. {verdict}; {are_better} shown to be better "
        "than it in macro-F1 there."
    )


def _of_test(column: str) -> str:
    """The column of the test images for one of the validation images; any other column itself."""
    return column.replace("val_", "test_", 1) if column.startswith("val_") else column


def _changes(candidates: pd.DataFrame, deploy: dict, chosen) -> str:
    """The list of limits that would change the pick."""
    lines = [
        _change(candidates, deploy, change) for change in pick.what_would_change(candidates, deploy)
    ]
    if not lines and chosen is None:
        lines = ["no single limit: a candidate may be deployed only where several limits change"]
    elif not lines:
        lines = ["no limit: the pick is the same with every value"]
    return markdown.bullets(lines)


def _change(candidates: pd.DataFrame, deploy: dict, change: pick.Change) -> str:
    """One limit, and the pick with another value of it."""
    limit, now = change.limit, deploy[change.limit.key]
    then = "no candidate may be deployed"
    if change.label is not None:
        then = f"the pick is {markdown.name(candidates.loc[change.label])}"
    return (
        f"with {limit.words(change.value, change.tighter)} "
        f"(now {'no limit' if now is None else limit.value(now)}), {then}"
    )
