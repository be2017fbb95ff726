"""Order statistics and shares of resampled scores are those of the resamples themselves."""

import numpy as np
from beansweep.analysis.resampled_scores import ResampledScores
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]), min_size=1, max_size=12), st.data())
def test_order_statistics_and_shares_are_those_of_each_resample(scores, data):
    scores, count = np.array(scores), len(scores)
    times = np.random.default_rng(count).multinomial(count, np.full(count, 1 / count), size=6)
    resampled = ResampledScores(scores, times)
    place = data.draw(st.integers(0, count - 1))
    threshold = data.draw(st.sampled_from([-1.0, 0.0, 0.1, 0.3, 0.9, 2.0]))
    resamples = [np.repeat(scores, row) for row in times]
    expected = [np.sort(resample)[place] for resample in resamples]
    assert resampled.order_statistic(place).tolist() == expected
    shares = resampled.share_below(np.full(6, threshold))
    assert shares.tolist() == [(resample < threshold).mean() for resample in resamples]
