"""The front and the pick obey their definitions on any table of candidates."""

import pandas as pd
import pytest
import synthetic
from beansweep import candidates, files, pareto
from hypothesis import given
from hypothesis import strategies as st

NO_LIMITS = {"min_macro_f1": None, "max_missed_defect_rate": None, "max_megabytes": None, "max_p50_ms": None}
# Few distinct values, so that ties are common.
figure = st.sampled_from([0.1, 0.2, 0.5, 0.8, 0.9])


def table_of(rows, apart=2.0):
    """Candidates from (macro-F1, missed-defect rate, megabytes, p50); macro-F1s further than `apart` are told apart."""
    table = pd.DataFrame(rows, columns=["val_macro_f1", "val_missed_defect_rate", "megabytes", "p50_ms"])
    table["val_macro_f1_low"] = table["val_macro_f1"] - 0.05
    table["val_missed_defect_rate_high"] = table["val_missed_defect_rate"] + 0.1
    table["p50_low_ms"], table["p50_high_ms"] = table["p50_ms"] * 0.9, table["p50_ms"] * 1.1
    table["backbone"] = ["one", "other"] * (len(table) // 2) + ["one"] * (len(table) % 2)
    table["speedup_low"], table["speedup_high"] = 0.99 / table["p50_ms"], 1.01 / table["p50_ms"]
    scores = table["val_macro_f1"]
    table["baseline"] = [index % 5 == 4 for index in range(len(table))]
    table["val_misses_more_than"] = [[other for other in table.index[:index] if (index + other) % 3 == 0]
                                     for index in table.index]
    table["val_beaten_by"] = [table.index[scores > score + apart].tolist() for score in scores]
    table["barred"] = pareto.barred(table)
    return table


tables = st.builds(table_of, st.lists(st.tuples(figure, figure, figure, figure), min_size=1, max_size=12),
                   st.sampled_from([0.05, 0.35, 2.0]))
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
def test_the_pick_meets_every_limit_with_its_intervals_and_is_the_cheapest_of_the_best(table, deploy):
    def meets(row):
        return ((deploy["min_macro_f1"] is None or row["val_macro_f1_low"] >= deploy["min_macro_f1"])
                and (deploy["max_missed_defect_rate"] is None
                     or row["val_missed_defect_rate_high"] <= deploy["max_missed_defect_rate"])
                and (deploy["max_megabytes"] is None or row["megabytes"] <= deploy["max_megabytes"])
                and (deploy["max_p50_ms"] is None or row["p50_high_ms"] <= deploy["max_p50_ms"]))

    allowed = [index for index, row in table.iterrows() if meets(row) and not row["barred"]]
    chosen = pareto.pick(table, deploy)
    if not allowed:
        assert chosen is None
        return
    assert chosen in allowed
    best = [index for index in allowed if not set(table.loc[index, "val_beaten_by"]) & set(allowed)]
    assert chosen in best
    column, sense = pareto.OBJECTIVES[deploy["objective"]]
    assert sense * table.loc[chosen, column] == max(sense * table.loc[best, column])
    tied = pareto.tied(table, deploy)
    assert set(tied) <= set(best) - {chosen}
    if deploy["objective"] == "p50_ms":
        assert all(table.loc[index, "p50_low_ms"] <= table.loc[chosen, "p50_high_ms"] for index in tied)
        # Timed beside each other, far smaller differences are told apart.
        assert all(table.loc[index, "p50_ms"] == table.loc[chosen, "p50_ms"] for index in tied
                   if table.loc[index, "backbone"] == table.loc[chosen, "backbone"])


@given(tables, limits)
def test_never_picked_is_a_baseline_nor_what_another_beats_without_being_shown_worse(table, deploy):
    chosen = pareto.pick(table, deploy)
    if chosen is None:
        return
    row = table.loc[chosen]
    assert not row["baseline"]
    for index, other in table[~table["baseline"]].iterrows():
        beats = (other["p50_ms"] < row["p50_ms"] and other["megabytes"] < row["megabytes"]
                 and other["val_macro_f1"] > row["val_macro_f1"])
        assert not beats or chosen in other["val_beaten_by"] or chosen in other["val_misses_more_than"], index


def test_what_keeps_a_limit_by_chance_is_not_picked_over_what_beats_it():
    """The better one misses the limit of 0.15 by an image; nothing shows that it misses more."""
    rows = [(0.90, 0.04, 4.6, 2.5), (0.92, 0.06, 4.4, 1.9)]
    deploy = {**NO_LIMITS, "max_missed_defect_rate": 0.15, "objective": "p50_ms"}
    table = table_of(rows)
    assert pareto.satisfied(table, deploy).all(axis=1).tolist() == [True, False]
    assert table["barred"].tolist() == ["beaten by 1", ""]
    assert pareto.pick(table, deploy) is None
    table["val_misses_more_than"] = [[], [0]]
    table["barred"] = pareto.barred(table)
    assert pareto.pick(table, deploy) == 0


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
    assert table.loc[index, "barred"] == ""


def test_the_nearest_is_near_in_points_not_in_multiples_of_a_small_limit():
    table = table_of([(0.94, 0.10, 6.0, 1.0), (0.42, 0.0, 2.0, 1.0)])
    deploy = {**NO_LIMITS, "min_macro_f1": 0.85, "max_missed_defect_rate": 0.05}
    assert pareto.nearest(table, deploy)[0] == 0


def test_what_would_change_finds_the_next_candidate():
    table = table_of([(0.90, 0.0, 1.0, 1.0), (0.95, 0.0, 2.0, 3.0)])
    deploy = {**NO_LIMITS, "min_macro_f1": 0.80, "objective": "p50_ms"}
    assert pareto.pick(table, deploy) == 0
    first = next(change for change in pareto.what_would_change(table, deploy) if change.key == "min_macro_f1")
    assert first.index == 1
    assert first.limit == pytest.approx(0.85)
    assert first.limit > table.loc[0, "val_macro_f1_low"]


def test_a_cheaper_candidate_that_is_shown_to_be_worse_is_not_picked():
    table = table_of([(0.90, 0.0, 1.0, 1.0), (0.95, 0.0, 2.0, 3.0), (0.94, 0.0, 2.0, 2.0)], apart=0.02)
    assert pareto.pick(table, {**NO_LIMITS, "objective": "p50_ms"}) == 2
    # Where the better ones are too slow, it is the best that there is.
    assert pareto.pick(table, {**NO_LIMITS, "objective": "p50_ms", "max_p50_ms": 1.5}) == 0


def test_a_variant_that_equals_its_base_is_no_rival_of_it(tmp_path):
    """Both were timed, and the same file is never faster than itself."""
    variants = ["fp32", "int8_static", "int8_reference"]
    synthetic.write(tmp_path, ["mobilenet_v3_small"], variants, images=8)
    folder = tmp_path / "results/mobilenet_v3_small"
    for kind in ("predictions", "float_kernels"):
        (folder / kind / "int8_reference.csv").write_bytes((folder / kind / "int8_static.csv").read_bytes())
    trained = {"quantizer": "qat", "base": "int8_static", "weight_type": "QInt8", "reduce_range": True,
               "chosen_epoch": 0, "trials": [
                   {"kl": 0.01, "macro_f1": 0.9, "weights": 1, "weights_moved": 0, "biases": 1, "biases_moved": 0}]}
    tables = []
    for equal in (False, True):
        files.write_json(folder / "int8_reference.json", {"recipe": {**trained, "equals_base": equal}})
        tables.append(candidates.table(tmp_path / "results", ["mobilenet_v3_small"], variants, synthetic.GOOD,
                                       synthetic.CONFIG["report"]))
    slower, twin = (table.loc["mobilenet_v3_small:int8_reference"] for table in tables)
    base = tables[1].loc["mobilenet_v3_small:int8_static"]
    assert slower["p50_ms"] > base["p50_ms"]
    assert slower["dominated_by"] == ["mobilenet_v3_small:int8_static"]
    assert (twin["p50_ms"], twin["speedup"], twin["megabytes"]) == (base["p50_ms"], base["speedup"], base["megabytes"])
    assert twin["dominated_by"] == base["dominated_by"]
    assert pareto.pick(tables[1], {**NO_LIMITS, "objective": "p50_ms"}) == base.name
