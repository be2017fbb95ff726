"""The front obeys its definition."""

import numpy as np
from beansweep.analysis import front
from hypothesis import given
from hypothesis import strategies as st

# Few distinct values, so that ties are common.
figure = st.sampled_from([0.1, 0.2, 0.5, 0.8, 0.9])


@given(st.lists(st.tuples(figure, figure), min_size=1, max_size=12))
def test_no_member_is_dominated_and_every_other_is_dominated_by_a_member(candidates):
    gain, cost = np.array(candidates).T
    dominators = front.dominators(gain, cost)
    members = {i for i, others in enumerate(dominators) if not others}
    assert members
    for i in range(len(candidates)):
        expected = []
        for j in range(len(candidates)):
            no_worse = gain[j] >= gain[i] and cost[j] <= cost[i]
            if no_worse and (gain[j] > gain[i] or cost[j] < cost[i]):
                expected.append(j)
        assert dominators[i] == expected
        assert i in members or set(expected) & members
