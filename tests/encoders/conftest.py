"""Sequences, memories and resets for encoders."""

import pytest
import torch as th

from sb3_hyper.aggregators import AGGREGATORS
from sb3_hyper.encoders import ENCODERS, AggregatedEncoder, make_encoder

INPUT_DIM, OUTPUT_DIM, N_SEQUENCES = 3, 8, 4


def build(encoder, aggregator=None, **kwargs):
    th.manual_seed(0)
    inner = make_encoder(encoder, INPUT_DIM, OUTPUT_DIM)
    return (inner if aggregator is None else AggregatedEncoder(inner, aggregator, **kwargs)).double()


BUILDERS = {
    **{name: lambda name=name: build(name) for name in ENCODERS},
    **{f"gru-{name}": lambda name=name: build("gru", name) for name in AGGREGATORS},
    **{f"{name}-Max-whole": lambda name=name: build(name, "Max", split=False) for name in ENCODERS},
    "lstm-Softmax": lambda: build("lstm", "Softmax"),
    "pointwise-Gaussian": lambda: build("pointwise", "Gaussian"),
}


@pytest.fixture(params=BUILDERS)
def encoder(request):
    """Every encoder, and every aggregator over some of them; float64."""
    return BUILDERS[request.param]()


@pytest.fixture
def sequences(encoder):
    """``make(n_steps)`` gives features, the memory that two earlier transitions left behind, and random resets."""

    def make(n_steps):
        th.manual_seed(n_steps)
        x = th.randn(n_steps + 2, N_SEQUENCES, INPUT_DIM, dtype=th.float64)
        none = th.zeros(2, N_SEQUENCES, dtype=th.bool)
        memory = encoder(x[:2], encoder.initial_state(N_SEQUENCES).double(), none)[1].detach()
        resets = th.rand(n_steps, N_SEQUENCES) < 0.3
        resets[0] = th.tensor([True, False, True, False])
        return x[2:].requires_grad_(), memory.requires_grad_(), resets

    return make
