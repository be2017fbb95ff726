"""Splits: every class gets its shares, and near-duplicates are in one split."""

import numpy as np
from beansweep.data import splitting
from hypothesis import given
from hypothesis import strategies as st


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), min_size=3, max_size=80),
    st.integers(0, 5),
)
def test_a_split_never_parts_a_group_and_depends_on_the_seed_alone(rows, seed):
    labels, groups = np.array(rows).T
    fractions = {"val": 0.2, "test": 0.25}
    splits = splitting.assign_splits(labels, groups, fractions, seed)
    assert set(splits) <= set(splitting.SPLITS)
    for group in set(groups):
        assert len(set(splits[groups == group])) == 1
    assert (splits == splitting.assign_splits(labels, groups, fractions, seed)).all()


def test_a_split_of_single_images_gives_each_class_its_shares():
    labels = np.repeat([0, 1], [100, 40])
    splits = splitting.assign_splits(labels, np.arange(140), {"val": 0.15, "test": 0.2}, seed=3)
    for label, count in ((0, 100), (1, 40)):
        mine = splits[labels == label]
        assert (mine == "val").sum() == 0.15 * count
        assert (mine == "test").sum() == 0.2 * count


@given(
    st.lists(
        st.tuples(st.sampled_from(splitting.SPLITS), st.integers(0, 12)), min_size=1, max_size=60
    )
)
def test_after_dropping_no_group_crosses_splits_and_test_has_lost_nothing(rows):
    names, numbers = zip(*rows, strict=True)
    splits, groups = np.array(names), np.array(numbers)
    kept = splitting.drop_leaks(splits, groups)
    for group in set(groups):
        left = set(kept[groups == group]) - {splitting.DROPPED}
        assert len(left) == 1
        # What is most held out stays.
        assert left == {max(splits[groups == group], key=splitting.SPLITS.index)}
    assert ((kept == "test") == (splits == "test")).all()
    assert ((kept == splits) | (kept == splitting.DROPPED)).all()
