"""Mixed precision: 16 bits on a GPU, in the type that it is fast in; 32 bits elsewhere."""

import pytest
import torch
from beansweep.models.mixed_precision import MixedPrecision
from torch import nn


@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
@pytest.mark.parametrize(("fast", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_gpu_computes_in_the_sixteen_bits_that_it_is_fast_in(monkeypatch, fast, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: fast)
    assert MixedPrecision(torch.device("cuda")).type is expected


def test_other_devices_compute_in_32_bits():
    precision = MixedPrecision(torch.device("cpu"))
    model = nn.Linear(2, 1)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    before = model.weight.detach().clone()
    with precision.autocast():
        outputs = model(torch.ones(1, 2))
    assert outputs.dtype is torch.float32
    precision.update(optimiser, outputs.sum())
    assert torch.allclose(model.weight, before - 0.1)
    assert precision.state_dict() == {}


def test_a_gradient_outside_of_the_range_of_float16_changes_no_weight():
    """The scale of the loss falls instead, and a later process goes on from it."""
    precision = MixedPrecision(torch.device("cpu"))
    precision.type = torch.float16
    precision._scaler = torch.amp.GradScaler("cpu")
    model = nn.Linear(2, 1)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    before, scale = model.weight.detach().clone(), precision.state_dict()["scale"]
    precision.update(optimiser, model(torch.full((1, 2), torch.inf)).sum())
    assert torch.equal(model.weight, before)
    assert precision.state_dict()["scale"] < scale
    again = MixedPrecision(torch.device("cpu"))
    again._scaler = torch.amp.GradScaler("cpu")
    again.load_state_dict(precision.state_dict())
    assert again.state_dict()["scale"] < scale
