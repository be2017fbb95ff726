"""The text of the pick: which candidate, why, how stable it is, and what would change it."""

import math
import re
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
import pandas as pd

from beansweep.analysis import intervals, limits, operating_point, pick, stability
from beansweep.common.words import counted
from beansweep.report import markdown

# The pick of fewer resamples than this share is called unstable in the headline.
_STABLE = 0.5
# Other picks of the resamples that are listed.
_OTHERS = 8
# Shares of images that a person might decide on, to show what it would buy.
_BY_HAND = (0.01, 0.05)


@dataclass
class Choice:
    """What the pick on one machine is chosen from.

    Attributes
    ----------
    table : of candidates, with the latencies of the machine
    deploy : limits and objective, as in config.yaml
    confidence : of the intervals
    decide : the table under another limit on missed defects, or share decided by hand
    steps : limits on missed defects to try
    picks : name of the pick in each resample of the validation images, see `stability.picks`;
        empty where they were not resampled
    """

    table: pd.DataFrame
    deploy: dict
    confidence: float
    decide: pick.Decide
    steps: list[float]
    picks: pd.Series = field(default_factory=lambda: pd.Series(dtype=str))

    @property
    def chosen(self):
        """Index label of the pick; None where no candidate may be deployed."""
        picked = self.table.index[self.table["pick"]]
        return picked[0] if len(picked) else None

    @property
    def has_defects(self) -> bool:
        """Whether any class is a defect."""
        return bool(self.table["ship_below"].notna().any())


def text(choice: Choice) -> str:
    """The pick, why it was picked, and what would change it, in Markdown."""
    reasons = [_wanted(choice)]
    if choice.chosen is None:
        lead = _nothing(choice)
    else:
        row = choice.table.loc[choice.chosen]
        said = [f"{_headline(choice, row)}: {markdown.summary(row)}", _stability(choice)]
        lead = " ".join(filter(None, [*said, _better(choice, row)]))
        reasons += [
            _why(choice),
            _portability(row),
            _tie(choice),
            _on_test(choice, row),
        ]
    changes = "What would change it (a limit applies to the whole interval, where there is one):"
    return markdown.paragraphs(lead, " ".join(filter(None, reasons)), changes, _changes(choice))


def operating_points(choice: Choice) -> str:
    """What an operating point is, whether there are defects enough for it, and what a person buys.

    It is empty where no class is a defect.
    """
    if not choice.has_defects:
        return ""
    return markdown.paragraphs(_threshold(choice), _by_hand(choice))


def other_picks(choice: Choice) -> str:
    """What resamples would pick, in a table; empty where all pick the same."""
    shares, _ = stability.shares(choice.picks, choice.table)
    if len(shares) <= 1:
        return ""
    rows = []
    for label, share in shares.head(_OTHERS).items():
        rows.append([_or_nothing(choice, label), f"{share:.1%}"])
    rest = shares.iloc[_OTHERS:]
    if len(rest):
        rows.append([f"{len(rest)} others", f"{rest.sum():.1%}"])
    header = ["picked", f"of {len(choice.picks)} resamples"]
    words = "What resampled validation images would pick:"
    return markdown.paragraphs(words, markdown.table(header, rows, 1))


def _or_nothing(choice: Choice, label) -> str:
    """A candidate's name, or that there is none."""
    if label == stability.NOTHING:
        return "nothing"
    return markdown.name(choice.table.loc[label])


def _headline(choice: Choice, row: pd.Series) -> str:
    """The name of the pick, and a warning where less than half of the resamples pick it."""
    share = (choice.picks == choice.chosen).mean()
    if not len(choice.picks) or share >= _STABLE:
        return f"**Pick: {markdown.name(row)}**"
    return (
        f"**Pick: {markdown.name(row)}, but most resamples of the validation images give another "
        f"pick ({share:.0%} give this one)**"
    )


def _stability(choice: Choice) -> str:
    """In how many resamples the same file, and the same backbone, is picked."""
    if not len(choice.picks):
        return ""
    _, backbones = stability.shares(choice.picks, choice.table)
    backbone = backbones.get(choice.table.loc[choice.chosen, "backbone"], 0)
    same, count = int((choice.picks == choice.chosen).sum()), len(choice.picks)
    return (
        f"The same file is picked in {same} of {count} resamples of the validation images, the "
        f"same backbone in {round(backbone * count)}."
    )


def _wanted(choice: Choice) -> str:
    """What was asked for."""
    deploy = choice.deploy
    wanted = [limit.words(deploy[limit.key]) for limit in limits.limits_set(deploy)]
    if not wanted:
        return f"Wanted: {limits.objective(deploy).best}, no limits."
    estimates = "macro-F1 or good ones rejected" if choice.has_defects else "macro-F1"
    return (
        f"Wanted: {limits.objective(deploy).best}, with {'; '.join(wanted)}. A limit is kept where "
        f"the whole {intervals.percent(choice.confidence)} interval keeps it. In {estimates}, an "
        "estimate within the limit is enough for a candidate that is not shown to be worse than "
        "the best one that keeps it."
    )


def _nothing(choice: Choice) -> str:
    """That no candidate may be deployed, and which is the nearest."""
    label, broken = pick.nearest(choice.table, choice.deploy)
    row = choice.table.loc[label]
    missed = []
    for limit in limits.limits_set(choice.deploy):
        if limit.key in broken:
            by = limit.distance(broken[limit.key])
            missed.append(f"{limit.words(choice.deploy[limit.key])} is missed by {by}")
    agree = ""
    if len(choice.picks):
        share = (choice.picks == stability.NOTHING).mean()
        agree = f" {share:.0%} of {len(choice.picks)} resamples of the validation images agree."
    return (
        f"**No candidate may be deployed.** The nearest is {markdown.name(row)}: "
        f"{'; '.join(missed)}. It has {markdown.summary(row)}{agree}"
    )


def _why(choice: Choice) -> str:
    """How the pick came out of all candidates."""
    obstacles = choice.table["obstacles"]
    count = int((obstacles == "").sum())
    text = f"{count} of {len(choice.table)} candidates may be picked"
    if count > 1:
        text += (
            f", and validation does not tell them apart in {pick_quality(choice)}; of them "
            f"the pick has {limits.objective(choice.deploy).best}"
        )
    text += ". *All candidates* says what is against the others."
    elsewhere = choice.table.index[obstacles == pick.NOT_PORTABLE]
    if len(elsewhere):
        names = markdown.names(choice.table, elsewhere)
        text += f" Against these there is only that each {pick.NOT_PORTABLE}: {names}."
    return text


def pick_quality(choice: Choice) -> str:
    """What candidates are compared in, in words."""
    return "good ones rejected" if choice.has_defects else "macro-F1"


def _portability(row: pd.Series) -> str:
    """That the pick predicts otherwise elsewhere, as no other candidate qualifies."""
    if not row["portability"]:
        return ""
    return (
        "**It may predict otherwise on another instruction set**: no candidate that predicts the "
        "same everywhere qualifies."
    )


def _tie(choice: Choice) -> str:
    """Which candidates tie with the pick, and what decided; empty where none does."""
    table, goal = choice.table, limits.objective(choice.deploy)
    row, alike, sentences = table.loc[choice.chosen], [], []
    for label in pick.tied(table, choice.deploy):
        if table.loc[label, goal.column] == row[goal.column]:
            sentences.append(
                f"**A tie**: {markdown.names(table, [label])} has the same {goal.name} and is not "
                f"shown to be worse; {_decided_by(row, table.loc[label])}."
            )
        else:
            alike.append(label)
    if alike:
        names = markdown.names(table, alike)
        sentences.append(f"**A tie**: its {goal.name} cannot be told apart from that of {names}.")
    return " ".join(sentences)


def _decided_by(row: pd.Series, other: pd.Series) -> str:
    """What decided between the pick and another candidate with the same value of the objective."""
    for goal in limits.OBJECTIVES:
        if row.get(goal.column, np.nan) == other.get(goal.column, np.nan):
            continue
        if goal.key == "megabytes":
            size = round(1e6 * (other["megabytes"] - row["megabytes"]))
            return f"the smaller file decided, by {counted(size, 'bytes')}"
        return f"{goal.best} decided"
    return "the order in the configuration decided"


def _on_test(choice: Choice, row: pd.Series) -> str:
    """What the test images say of the pick; they played no part in the choice."""
    verdicts = []
    for limit in limits.limits_set(choice.deploy):
        verdict = _verdict(limit, row, choice.deploy[limit.key])
        if verdict:
            verdicts.append(verdict)
    sentences = ["The test images played no part in the choice."]
    if limits.limits_set(choice.deploy):
        sentences.append(f"On them {'; '.join(verdicts) or 'it keeps the same limits'}.")
    if not _better(choice, row):
        sentences.append("They show no candidate to be better than it.")
    return " ".join(sentences)


def _verdict(limit: limits.Limit, row: pd.Series, number: float) -> str:
    """Whether a candidate breaks a limit on the test images; empty where it keeps it."""
    words = limit.words(number).replace("validation", "test")
    column = _of_test(limit.column)
    ends = {"_low": "_high", "_high": "_low"}
    favourable = re.sub("_low|_high", lambda end: ends[end[0]], column)
    if limit.met(row[column], number):
        return ""
    if limit.met(row[_of_test(limit.estimate)], number):
        return f"its estimate keeps {words}, but its interval does not"
    if limit.met(row[favourable], number):
        return f"**its estimate breaks {words}**, though its interval includes it"
    return f"**it breaks {words}**, with its whole interval"


def _better(choice: Choice, row: pd.Series) -> str:
    """Which candidates the test images show to be better than the pick; empty where none."""
    measures = {"test_beaten_by": "macro-F1"}
    if choice.has_defects:
        measures |= {
            "test_misses_more_than": "defects missed",
            "test_rejects_more_than": "good ones rejected",
        }
    found = []
    for column, words in measures.items():
        if row[column]:
            found.append(f"in {words}: {markdown.names(choice.table, row[column])}")
    if not found:
        return ""
    return f"**The test images show these to be better** {'; '.join(found)}."


def _of_test(column: str) -> str:
    """The column of the test images for one of the validation images; any other column itself."""
    return column.replace("val_", "test_", 1) if column.startswith("val_") else column


def _threshold(choice: Choice) -> str:
    """Where images are shipped, and what vouches for it."""
    limit = choice.deploy["max_missed_defect_rate"]
    text = (
        "The defect score of an image is the sum of its probabilities of defect classes. An image "
        "is shipped where it is below the threshold of the candidate"
    )
    if limit is None:
        return f"{text}. There is no limit on missed defects, so the threshold is 0.5."
    defects = int(choice.table["val_defects"].iloc[0])
    if operating_point.allowed_misses(defects, limit, choice.confidence) < 0:
        return f"{text}. {_too_few(defects, limit, choice.confidence)}"
    return (
        f"{text}. The threshold is the largest for which the {defects} validation defects "
        f"(near-duplicates count once) vouch, at {intervals.percent(choice.confidence)} "
        f"confidence, that at most {limit:.2%} of all defects are missed. The one assumption is "
        "that new images are drawn like these."
    )


def _too_few(defects: int, limit: float, confidence: float) -> str:
    """That so many defects are too few for the limit, and what they can vouch for."""
    needed = operating_point.defects_needed(limit, confidence)
    needs = "no number of defects can" if needed is None else f"that takes {needed} of them"
    tightest = operating_point.missed_bound(0, defects, confidence)
    return (
        f"**{defects} validation defects cannot vouch for {limit:.2%}, even with none missed**: "
        f"{needs}. The threshold misses none of them, and the tightest limit that they can vouch "
        f"for is {tightest:.2%}."
    )


def _by_hand(choice: Choice) -> str:
    """What it buys, or would buy, that a person decides on the most doubtful images."""
    label = choice.chosen or pick.nearest(choice.table, choice.deploy)[0]
    row, share = choice.table.loc[[label]].iloc[0], choice.deploy["max_by_hand_rate"]
    alone = choice.decide({**choice.deploy, "max_by_hand_rate": 0})
    without = f"{alone.loc[label, 'test_rejected_good_rate']:.1%}"
    if share:
        return (
            f"A person decides on the most doubtful {share:.1%} of the validation images "
            f"({row['test_by_hand_rate']:.1%} on test). So {markdown.name(row)} rejects "
            f"{row['test_rejected_good_rate']:.1%} of good ones on test instead of {without}."
        )
    shares = " or ".join(f"{part:.0%}" for part in _BY_HAND)
    on_test, rejected = [], []
    for part in _BY_HAND:
        decided = choice.decide({**choice.deploy, "max_by_hand_rate": part}).loc[label]
        on_test.append(f"{decided['test_by_hand_rate']:.1%}")
        rejected.append(f"{decided['test_rejected_good_rate']:.1%}")
    return (
        f"If a person decided on the most doubtful {shares} of the validation images "
        f"({' or '.join(on_test)} on test; `deploy.max_by_hand_rate`), {markdown.name(row)} would "
        f"reject {' or '.join(rejected)} of good ones on test instead of {without}."
    )


def _changes(choice: Choice) -> str:
    """The list of limits that would change the pick."""
    found = pick.what_would_change(choice.table, choice.deploy, choice.decide, choice.steps)
    lines = [_change(choice, change) for change in found]
    if not pick.is_p50_known(choice.table):
        lines.append(
            "p50: its intervals are missing or too wide to say; with more `bench.processes` they "
            "are narrower"
        )
    if not lines and choice.chosen is None:
        lines = ["no single limit: a candidate may be deployed only where several limits change"]
    elif not lines:
        lines = ["no limit: the pick is the same with every value"]
    return markdown.bullets(lines)


def _change(choice: Choice, change: pick.Change) -> str:
    """One limit, and the pick with another value of it."""
    limit, now = change.limit, choice.deploy[change.limit.key]
    then = "no candidate may be deployed"
    if change.label is not None:
        then = f"the pick is {markdown.name(choice.table.loc[change.label])}"
    return (
        f"with {_threshold_words(change)} "
        f"(now {'no limit' if now is None else limit.value(now)}), {then}"
    )


def _threshold_words(change: pick.Change) -> str:
    """The new value of a limit in words, rounded so that what is said of it stays true.

    A strict value is rounded to where the limit excludes its candidate for sure, and any other to
    where the limit admits it.
    """
    limit, value = change.limit, change.value
    side = limit.exclusive if change.strict else limit.inclusive
    if change.strict:
        # The candidate's own figure: the value is the next float beyond it.
        value = float(np.nextafter(value, -limit.direction * math.inf))
    # As decimal digits: in binary, 0.29 * 100 is below 29.
    exact = Decimal(repr(value)) * Decimal(str(limit.scale))
    decimals = max(limit.digits, 2 - exact.adjusted() if exact else 0)
    is_up = (limit.direction == limits.AT_LEAST) == change.strict
    rounding = ROUND_CEILING if is_up else ROUND_FLOOR
    rounded = exact.quantize(Decimal(1).scaleb(-decimals), rounding)
    return f"{limit.name} {side} {rounded}{limit.unit}"
