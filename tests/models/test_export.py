"""Export to ONNX is refused where it changes a network's outputs."""

import numpy as np
import pytest
from beansweep.common.errors import UserError
from beansweep.models import export


def test_a_step_that_changed_the_outputs_is_refused():
    logits = np.array([[0.0, 10.0], [3.0, 4.0]])
    assert export.compare(logits, logits + 0.009, "joining branches") == (
        pytest.approx(0.009),
        10,
    )
    with pytest.raises(
        UserError, match=r"joining branches changed the outputs on real images by 0.02"
    ):
        export.compare(logits, logits + 0.02, "joining branches")
    with pytest.raises(UserError, match="by nan"):
        export.compare(logits, logits * np.nan, "joining branches")
