"""The front and the pick obey their definitions on any table of candidates."""

import numpy as np
import pandas as pd
import pytest
from beansweep import pareto
from hypothesis import given
from hypothesis import strategies as st

NO_LIMITS = {"min_macro_f1": None, "max_missed_defect_rate": None, "max_megabytes": None, "max_p50_ms": None}
# Few distinct values, so that ties are common.
figure = st.sampled_from([0.1, 0.2, 0.5, 0.8, 0.9])
tables = st.lists(st.tuples(figure, figure, figure, figure), min_size=1, max_size=12).map(
    lambda rows: pd.DataFrame(rows, columns=["val_macro_f1", "val_missed_defect_rate", "megabytes", "p50_ms"])
)
limits = st.fixed_dictionaries({key: st.none() | figure for key in NO_LIMITS} | {
    "objective": st.sampled_from(sorted(pareto.OBJECTIVES))})


@given(tables)
def test_no_member_is_dominated_and_every_other_is_dominated_by_a_member(table):
    gain, cost = table["val_macro_f1"].to_numpy(), table["p50_ms"].to_numpy()
    by = pareto.dominators(gain, cost)
    members = [i for i, each in enumerate(by) if not each]
    assert members
    for i in range(len(table)):
        dominating = [j for j in range(len(table)) if gain[j] >= gain[i] and cost[j] <= cost[i]
                      and (gain[j] > gain[i] or cost[j] < cost[i])]
        assert by[i] == dominating
        assert i in members or set(dominating) & set(members)


@given(tables, limits)
def test_the_pick_meets_every_limit_and_nothing_allowed_beats_it(table, deploy):
    allowed = table.index[[all(
        deploy[key] is None or sense * row[column] >= sense * deploy[key]
        for key, (column, sense) in pareto.CONSTRAINTS.items()) for _, row in table.iterrows()]]
    chosen = pareto.pick(table, deploy)
    if len(allowed) == 0:
        assert chosen is None
        return
    assert chosen in allowed
    column, sense = pareto.OBJECTIVES[deploy["objective"]]
    assert sense * table.loc[chosen, column] == max(sense * table.loc[allowed, column])


@given(tables, limits)
def test_each_change_of_a_limit_gives_the_pick_it_says(table, deploy):
    for change in pareto.what_would_change(table, deploy):
        found = pareto.pick(table, {**deploy, change.key: change.limit})
        assert found == change.index
        assert found != pareto.pick(table, deploy)


@given(tables, limits)
def test_where_nothing_may_be_deployed_the_nearest_breaks_what_it_is_said_to(table, deploy):
    if pareto.pick(table, deploy) is not None:
        return
    index, broken = pareto.nearest(table, deploy)
    met = pareto.satisfied(table, deploy).loc[index]
    assert set(broken) == {key for key in met.index if not met[key]} != set()


def test_the_nearest_is_near_in_points_not_in_multiples_of_a_small_limit():
    table = pd.DataFrame({"val_macro_f1": [0.94, 0.42], "val_missed_defect_rate": [0.10, 0.0],
                          "megabytes": [6.0, 2.0], "p50_ms": [1.0, 1.0]})
    deploy = {**NO_LIMITS, "min_macro_f1": 0.85, "max_missed_defect_rate": 0.05}
    assert pareto.nearest(table, deploy)[0] == 0


def test_what_would_change_finds_the_next_candidate():
    table = pd.DataFrame({"val_macro_f1": [0.90, 0.95], "val_missed_defect_rate": [0.0, 0.0],
                          "megabytes": [1.0, 2.0], "p50_ms": [1.0, 3.0]})
    deploy = {**NO_LIMITS, "min_macro_f1": 0.85, "objective": "p50_ms"}
    assert pareto.pick(table, deploy) == 0
    first = next(change for change in pareto.what_would_change(table, deploy) if change.key == "min_macro_f1")
    assert first.index == 1
    assert first.limit == pytest.approx(0.90)
    assert np.nextafter(0.90, 1) <= first.limit
