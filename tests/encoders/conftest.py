"""Sequences, memories and resets for encoders."""

import inspect

import pytest
import torch as th
from torch import nn

from sb3_hyper.aggregators import AGGREGATORS
from sb3_hyper.encoders import ENCODERS, AggregatedEncoder, GRUEncoder, LRUEncoder, StackedEncoder, make_encoder

INPUT_DIM, OUTPUT_DIM, N_SEQUENCES = 3, 8, 4


LEARNED_INITIAL_STATE = [
    name for name, encoder in ENCODERS.items() if "learned_initial_state" in inspect.signature(encoder).parameters
]


def build(encoder, aggregator=None, encoder_kwargs=None, **kwargs):
    th.manual_seed(0)
    inner = make_encoder(encoder, INPUT_DIM, OUTPUT_DIM, **(encoder_kwargs or {}))
    for name, parameter in inner.named_parameters():
        if name.endswith("initial.value"):
            nn.init.normal_(parameter)
    return (inner if aggregator is None else AggregatedEncoder(inner, aggregator, **kwargs)).double()


def build_stack_of_different_encoders():
    """Of odd memories, so that a complex one starts at an odd place."""
    th.manual_seed(0)
    return StackedEncoder([GRUEncoder(INPUT_DIM, 5), LRUEncoder(5, OUTPUT_DIM, n_states=3)]).double()


BUILDERS = {
    **{name: lambda name=name: build(name) for name in ENCODERS},
    **{f"gru-{name}": lambda name=name: build("gru", name) for name in AGGREGATORS},
    **{
        f"{name}-learned-start": lambda name=name: build(name, encoder_kwargs={"learned_initial_state": True})
        for name in LEARNED_INITIAL_STATE
    },
    **{f"{name}-2-layers": lambda name=name: build(name, encoder_kwargs={"n_layers": 2}) for name in ENCODERS},
    "gru-lru": build_stack_of_different_encoders,
    "gru-2-layers-learned-start": lambda: build("gru", None, {"n_layers": 2, "learned_initial_state": True}),
    **{f"{name}-Max-split": lambda name=name: build(name, "Max") for name in ENCODERS},
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


@pytest.fixture
def assert_agrees_with_loop():
    """``check(encoder, loop, density)``: values and gradients of a loop. Returns the parameters' gradients."""

    def check(encoder, loop, density):
        x = th.randn(11, N_SEQUENCES, encoder.input_dim, dtype=th.float64, requires_grad=True)
        memory = th.randn(N_SEQUENCES, encoder.state_dim, dtype=th.float64, requires_grad=True)
        resets = th.rand(11, N_SEQUENCES) < density
        leaves = (x, memory, *encoder.parameters())

        def with_gradients(encodings, last):
            objective = encodings.square().sum() + last.pow(3).sum()
            return encodings, last, *th.autograd.grad(objective, leaves)

        expected = with_gradients(*loop(x, memory, resets))
        th.testing.assert_close(with_gradients(*encoder(x, memory, resets)), expected)
        return expected[4:]

    return check
