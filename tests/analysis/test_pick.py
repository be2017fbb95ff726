"""The pick obeys its rules on any table of candidates."""

import numpy as np
import pandas as pd
import pytest
from beansweep.analysis import finalists, limits, pick, standing
from hypothesis import given
from hypothesis import strategies as st

NO_LIMITS = {**dict.fromkeys(limit.key for limit in limits.LIMITS), "objective": "p50_ms"}
# Few distinct values, so that ties are common.
figure = st.sampled_from([0.1, 0.2, 0.5, 0.8, 0.9])


def table_of(rows, apart=2.0, plain=False):
    """Candidates from (macro-F1, share of good ones rejected, megabytes, p50).

    Parameters
    ----------
    apart : macro-F1s, and shares of good ones rejected, that differ by more are told apart
    plain : whether no class is good
    """
    columns = ["val_macro_f1", "val_rejected_good_rate", "megabytes", "p50_ms"]
    table = pd.DataFrame(rows, columns=columns)
    table["val_macro_f1_low"] = table["val_macro_f1"] - 0.05
    table["val_rejected_good_rate_high"] = table["val_rejected_good_rate"] + 0.1
    table["val_missed_defect_rate"], table["val_missed_defect_rate_high"] = 0.05, 0.08
    table["p50_low_ms"], table["p50_high_ms"] = table["p50_ms"] * 0.9, table["p50_ms"] * 1.1
    table["backbone"] = ["one", "other"] * (len(table) // 2) + ["one"] * (len(table) % 2)
    table["speedup_low"], table["speedup_high"] = 0.99 / table["p50_ms"], 1.01 / table["p50_ms"]
    table["baseline"] = table.index % 5 == 4
    table["portability"] = np.where(table.index % 4 == 3, "saturates here", "")
    scores, rejected = table["val_macro_f1"], table["val_rejected_good_rate"]
    table["val_beaten_by"] = [table.index[scores > score + apart].tolist() for score in scores]
    table["val_rejects_more_than"] = [
        table.index[rejected < rate - apart].tolist() for rate in rejected
    ]
    table["val_misses_more_than"] = [[] for _ in table.index]
    finalists.mark_timed_alone(table, "a machine")
    table["timed_elsewhere"] = table.index % 7 == 6
    if plain:
        of_defects = table.columns[table.columns.str.contains("rejected_good|missed_defect")]
        table[of_defects] = np.nan
        table["val_rejects_more_than"] = [[] for _ in table.index]
    return table


tables = st.builds(
    table_of,
    st.lists(st.tuples(figure, figure, figure, figure), min_size=1, max_size=12),
    st.sampled_from([0.05, 0.35, 2.0]),
    st.booleans(),
)
deploys = st.fixed_dictionaries(
    dict.fromkeys(["min_macro_f1", "max_megabytes", "max_p50_ms"], st.none() | figure)
    | {
        "max_missed_defect_rate": st.none(),
        "max_rejected_good_rate": st.none(),
        "objective": st.sampled_from(["p50_ms", "macro_f1", "megabytes"]),
    }
)
sorted_lines = st.builds(
    table_of,
    st.lists(st.tuples(figure, figure, figure, figure), min_size=1, max_size=12),
    st.sampled_from([0.05, 0.35, 2.0]),
)
sorting = st.fixed_dictionaries(
    dict.fromkeys(["min_macro_f1", "max_megabytes", "max_p50_ms"], st.none() | figure)
    | {
        "max_rejected_good_rate": st.none() | figure,
        "max_missed_defect_rate": st.sampled_from([None, 0.05, 0.08]),
        "objective": st.sampled_from(["p50_ms", "macro_f1", "megabytes", "rejected_good_rate"]),
    }
)
any_sweep = st.tuples(tables, deploys) | st.tuples(sorted_lines, sorting)


def shown_worse(table, one, other):
    """Whether validation images show one candidate to be worse than another in anything."""
    return any(other in table.loc[one, column] for column in standing.COMPARISONS)


@given(any_sweep)
def test_the_pick_keeps_every_exact_limit_and_the_estimates_of_the_others(sweep):
    table, deploy = sweep
    chosen = pick.choose(table, deploy)
    if chosen is None:
        return
    row = table.loc[chosen]
    for limit in limits.limits_set(deploy):
        column = limit.estimate if limit.worse else limit.column
        assert limit.met(row[column], deploy[limit.key])


@given(any_sweep)
def test_what_cannot_be_told_apart_from_the_best_that_keeps_a_limit_keeps_it_too(sweep):
    table, deploy = sweep
    kept = limits.satisfied(standing.of(table), deploy)
    for limit in limits.limits_set(deploy):
        whole = limit.met(table[limit.column], deploy[limit.key])
        assert kept[limit.key][whole].all()
        if not limit.worse or not whole.any():
            assert (kept[limit.key] == whole).all()
            continue
        goal = limit.direction * table[limit.estimate]
        best = goal[whole].idxmax()
        for label in table.index[~whole]:
            alike = best not in table.loc[label, limit.worse]
            within = limit.met(table.loc[label, limit.estimate], deploy[limit.key])
            assert kept[limit.key][label] == (alike and within)


@given(any_sweep)
def test_never_picked_is_a_baseline_nor_what_another_beats_without_being_shown_worse(sweep):
    table, deploy = sweep
    chosen = pick.choose(table, deploy)
    if chosen is None:
        return
    row = table.loc[chosen]
    assert not row["baseline"]
    assert not row["timed_elsewhere"]
    goals = [limits.P50, pick.quality(standing.of(table))[0], limits.objective(deploy)]
    kept = limits.satisfied(standing.of(table), deploy)
    for index, other in table[~table["baseline"] & ~table["timed_elsewhere"]].iterrows():
        keeps_all = all(values[index] for values in kept.values())
        gains = [goal.direction * (other[goal.column] - row[goal.column]) for goal in goals]
        beats = min(gains) >= 0 < max(gains[0], gains[2])
        elsewhere = other["portability"] != "" and row["portability"] == ""
        assert not beats or not keeps_all or elsewhere or shown_worse(table, index, chosen), index


@given(any_sweep)
def test_a_file_that_predicts_otherwise_elsewhere_is_picked_only_where_no_other_qualifies(sweep):
    table, deploy = sweep
    chosen = pick.choose(table, deploy)
    portable = table[table["portability"] == ""].reset_index(drop=True)
    if chosen is None or table.loc[chosen, "portability"] == "":
        return
    renamed = dict(zip(table.index[table["portability"] == ""], portable.index, strict=True))
    for column in standing.COMPARISONS:
        portable[column] = [
            [renamed[name] for name in names if name in renamed] for names in portable[column]
        ]
    alone = {**deploy, "min_macro_f1": None, "max_rejected_good_rate": None}
    if deploy == alone:
        assert portable.empty or pick.choose(portable, deploy) is None


@given(any_sweep)
def test_of_those_that_qualify_the_pick_has_the_best_of_the_objective(sweep):
    table, deploy = sweep
    chosen, known = pick.choose(table, deploy), standing.of(table)
    found = table.index[pick.qualified(known, deploy)]
    assert (chosen is None) == found.empty
    if chosen is None:
        return
    goal = limits.objective(deploy)
    assert chosen in found
    assert (goal.direction * table.loc[found, goal.column]).max() == (
        goal.direction * table.loc[chosen, goal.column]
    )
    column = pick.quality(known)[1]
    assert not any(set(table.loc[label, column]) & set(found) for label in found)
    tied = pick.tied(table, deploy)
    assert set(tied) <= set(table.index[pick.could_qualify(known, deploy)]) - {chosen}
    if deploy["objective"] == "p50_ms":
        picked, others = table.loc[chosen], table.loc[tied]
        assert (others["p50_low_ms"] <= picked["p50_high_ms"]).all()
        # Timed interleaved, far smaller differences are told apart.
        same = others[others["backbone"] == picked["backbone"]]
        assert (same["p50_ms"] == picked["p50_ms"]).all()


@given(any_sweep)
def test_finalists_are_the_pick_and_what_could_be_as_fast(sweep):
    table, deploy = sweep
    known = standing.of(table)
    among = table[pick.could_qualify(known, deploy)]
    assert set(table.index[pick.qualified(known, deploy)]) <= set(among.index)
    chosen = pick.finalists(table, deploy)
    assert set(chosen) <= set(among.index)
    assert len(set(chosen)) == len(chosen) >= min(2, len(among))
    for label in set(among.index) - set(chosen):
        assert among.loc[label, "p50_low_ms"] > among["p50_high_ms"].min()


@given(any_sweep)
def test_every_candidate_that_does_not_qualify_is_told_why(sweep):
    table, deploy = sweep
    words = pick.obstacles(table, deploy)
    assert ((words == "") == pick.qualified(standing.of(table), deploy)).all()


def test_what_keeps_a_limit_by_chance_is_not_picked_over_what_beats_it():
    """The faster one misses the limit by an image; nothing shows that it rejects more."""
    table = table_of([(0.90, 0.15, 4.6, 2.5), (0.92, 0.16, 4.4, 1.9)])
    deploy = {**NO_LIMITS, "max_rejected_good_rate": 0.255}
    whole = table["val_rejected_good_rate_high"] <= 0.255
    assert whole.tolist() == [True, False]
    assert pick.choose(table, deploy) == 1
    table["val_rejects_more_than"] = [[], [0]]
    assert pick.choose(table, deploy) == 0


def test_what_breaks_a_limit_beats_nothing():
    """Else neither could be deployed: the one is beaten, and the other breaks the limit."""
    table = table_of([(0.93, 0.2, 1.0, 2.0), (0.917, 0.2, 1.0, 1.0)])
    table["val_macro_f1_low"] = [0.921, 0.89]
    deploy = {**NO_LIMITS, "min_macro_f1": 0.92}
    assert pick.choose(table, deploy) == 0
    assert pick.obstacles(table, deploy).tolist() == ["", "min_macro_f1"]


@given(any_sweep)
def test_what_keeps_every_limit_is_not_lost_to_what_breaks_one(sweep):
    table, deploy = sweep
    known = standing.of(table)
    keeps_all = np.logical_and.reduce([known.eligible, *limits.satisfied(known, deploy).values()])
    # Who is shown to be worse than whom may go round in a circle.
    if keeps_all.any() and not any(matrix.any() for matrix in known.worse.values()):
        assert pick.choose(table, deploy) is not None


def test_what_is_beaten_by_a_p50_within_noise_is_timed_again_and_named_as_a_tie():
    """Both reject as many, and nothing but noise says which one is faster."""
    table = table_of([(0.9, 0.2, 1.0, 1.00), (0.9, 0.2, 1.0, 1.01), (0.9, 0.2, 1.0, 3.0)])
    assert pick.choose(table, NO_LIMITS) == 0
    assert pick.obstacles(table, NO_LIMITS)[1] == "beaten by 0"
    assert pick.finalists(table, NO_LIMITS) == [0, 1]
    table["backbone"] = ["one", "other", "one"]
    assert pick.tied(table, NO_LIMITS) == [1]
    # Timed together, their ratio tells them apart.
    table["timed_together"] = [True, True, False]
    table["p50_beaten_by"] = [[], [0], []]
    assert pick.tied(table, NO_LIMITS) == []


def test_of_two_that_take_as_long_no_estimate_decides_but_what_is_shown():
    """Redrawn images have now the one reject fewer good ones and now the other."""
    for first, second in ((0.20, 0.21), (0.21, 0.20)):
        table = table_of([(0.9, first, 1.01, 1.0), (0.9, second, 1.0, 1.0), (0.9, 0.1, 1.0, 3.0)])
        assert pick.choose(table, NO_LIMITS) == 1
        assert 0 in pick.tied(table, NO_LIMITS)
    table["val_rejects_more_than"] = [[], [0], []]
    assert pick.choose(table, NO_LIMITS) == 0


def test_a_faster_candidate_that_rejects_more_is_not_picked():
    rows = [(0.9, 0.05, 1.0, 2.0), (0.9, 0.30, 1.0, 1.0)]
    assert pick.choose(table_of(rows, apart=0.2), NO_LIMITS) == 0
    assert pick.choose(table_of(rows, apart=0.3), NO_LIMITS) == 1


@given(any_sweep)
def test_each_change_of_a_limit_gives_the_pick_it_says(sweep):
    table, deploy = sweep
    steps = [0.05, 0.08, 0.2]
    for change in pick.what_would_change(table, deploy, lambda _: table, steps):
        found = pick.choose(table, {**deploy, change.limit.key: change.value})
        assert found == change.label
        assert found != pick.choose(table, deploy)


@given(any_sweep)
def test_where_nothing_may_be_deployed_the_nearest_breaks_what_it_is_said_to(sweep):
    table, deploy = sweep
    if pick.choose(table, deploy) is not None:
        return
    if (table["baseline"] | table["timed_elsewhere"]).all():
        return
    index, broken = pick.nearest(table, deploy)
    kept = limits.satisfied(standing.of(table), deploy)
    row = index
    assert set(broken) == {key for key in kept if not kept[key][row]} != set()
    assert not table.loc[index, "baseline"]


def test_the_nearest_is_near_in_points_not_in_multiples_of_a_small_limit():
    table = table_of([(0.94, 0.10, 6.0, 1.0), (0.42, 0.0, 2.0, 1.0)], apart=0.3)
    deploy = {**NO_LIMITS, "min_macro_f1": 0.85, "max_rejected_good_rate": 0.05}
    assert pick.nearest(table, deploy)[0] == 0


def test_what_would_change_finds_the_next_candidate():
    table = table_of([(0.90, 0.0, 1.0, 1.0), (0.95, 0.0, 2.0, 3.0)], apart=0.02)
    deploy = {**NO_LIMITS, "min_macro_f1": 0.80, "objective": "p50_ms"}
    assert pick.choose(table, deploy) == 0
    first = next(
        change
        for change in pick.what_would_change(table, deploy, lambda _: table, [])
        if change.limit.key == "min_macro_f1"
    )
    assert first.label == 1
    assert first.value == pytest.approx(0.85)
    assert first.value > table.loc[0, "val_macro_f1_low"]
