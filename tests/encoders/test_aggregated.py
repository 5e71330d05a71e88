"""SplAgger: what is split, what is invariant, and what the straight-through gradient is."""

import pytest
import torch as th

from sb3_hyper.aggregators import AGGREGATORS
from sb3_hyper.encoders import AggregatedEncoder, PointwiseEncoder, SequenceEncoder, make_encoder

T, B, INPUT_DIM, WIDTH = 9, 3, 3, 8
every_aggregator = pytest.mark.parametrize("aggregator", AGGREGATORS)


class Unencoded(SequenceEncoder):
    """Passes its input through, so that a test decides on the encodings."""

    def __init__(self):
        super().__init__(WIDTH, WIDTH, state_dim=0)

    def forward(self, x, state, resets):
        return x, state


def make_x(width=INPUT_DIM):
    th.manual_seed(0)
    return th.randn(T, B, width, dtype=th.float64)


def run(encoder, x, resets=None):
    resets = th.zeros(T, B, dtype=th.bool) if resets is None else resets
    return encoder(x, encoder.initial_state(B).double(), resets)[0]


def running_readout(aggregator, encodings):
    """The aggregator's readout of every prefix, by folding."""
    state, readouts = aggregator.identity(B).double(), []
    for lifted in aggregator.lift(encodings):
        state = aggregator.combine(state, lifted)
        readouts.append(aggregator.readout(state))
    return th.stack(readouts)


@every_aggregator
@pytest.mark.parametrize("encoder", ["gru", "pointwise"])
@pytest.mark.parametrize("split", [True, False])
def test_first_half_is_kept_and_the_rest_aggregated(encoder, aggregator, split):
    inner = make_encoder(encoder, INPUT_DIM, WIDTH)
    outer, x = AggregatedEncoder(inner, aggregator, split).double(), make_x()
    encodings, output = run(inner, x), run(outer, x)
    kept = WIDTH // 2 if split else 0
    assert output.shape[-1] == outer.output_dim == kept + outer.aggregator.output_dim
    assert th.equal(output[..., :kept], encodings[..., :kept])
    th.testing.assert_close(output[..., kept:], running_readout(outer.aggregator, encodings[..., kept:]))


@every_aggregator
def test_pointwise_encoder_forgets_the_order_of_transitions(aggregator):
    encoder = AggregatedEncoder(PointwiseEncoder(INPUT_DIM, WIDTH), aggregator, split=False).double()
    x = make_x()
    shuffled = th.cat((x[:7].flip(0), x[7:]))
    th.testing.assert_close(run(encoder, shuffled)[6:], run(encoder, x)[6:])
    assert not th.allclose(run(encoder, shuffled)[:3], run(encoder, x)[:3])


@every_aggregator
def test_aggregated_half_forgets_the_order_of_encodings(aggregator):
    encoder = AggregatedEncoder(Unencoded(), aggregator).double()
    encodings = make_x(WIDTH)
    shuffled = th.cat((encodings[:7].roll(2, dims=0), encodings[7:]))
    before, after = run(encoder, encodings), run(encoder, shuffled)
    th.testing.assert_close(after[6, :, WIDTH // 2 :], before[6, :, WIDTH // 2 :])
    assert not th.allclose(after[6, :, : WIDTH // 2], before[6, :, : WIDTH // 2])


def test_recurrent_encoder_keeps_the_order_of_transitions():
    encoder = AggregatedEncoder(make_encoder("gru", INPUT_DIM, WIDTH), "Max").double()
    x = make_x()
    assert not th.allclose(run(encoder, x.flip(0))[-1, :, WIDTH // 2 :], run(encoder, x)[-1, :, WIDTH // 2 :])


@pytest.mark.parametrize("aggregator", ["Max", "Mean", "Softmax", "MeanMax", "MaxNorm"])
def test_straight_through_is_the_monoid_with_the_gradient_of_a_running_sum(aggregator):
    plain, amrl = (AggregatedEncoder(Unencoded(), aggregator, True, st).double() for st in (False, True))
    total = AggregatedEncoder(Unencoded(), "Sum").double()
    x, resets = make_x(WIDTH).requires_grad_(), th.rand(T, B) < 0.3
    output = run(amrl, x, resets)
    assert th.equal(output, run(plain, x, resets))
    weight = th.randn_like(output)
    gradients = [th.autograd.grad((run(e, x, resets) * weight).sum(), x)[0] for e in (amrl, total, plain)]
    th.testing.assert_close(gradients[0], gradients[1])
    assert not th.allclose(gradients[0], gradients[2])


def test_straight_through_gradient_reaches_the_first_transition_undiminished():
    """AMRL's point: the gradient of the last readout is one for every transition of the trial."""
    encoder = AggregatedEncoder(Unencoded(), "Max", False, use_straight_through=True).double()
    x = make_x(WIDTH).requires_grad_()
    run(encoder, x)[-1].sum().backward()
    assert th.equal(x.grad, th.ones_like(x))


def test_aggregator_of_ones_own():
    class Double(AGGREGATORS["Sum"]):
        def readout(self, state):
            return 2 * state

    x = make_x(WIDTH)
    encoder = AggregatedEncoder(Unencoded(), Double, split=False).double()
    th.testing.assert_close(run(encoder, x), 2 * x.cumsum(0))


@pytest.mark.parametrize(
    ("width", "aggregator", "split", "straight_through", "message"),
    [
        (7, "Max", True, False, "odd width 7.*even encoder_dim, or split=False"),
        (6, "MeanMax", True, False, "MeanMax reads two halves.*odd width 3"),
        (8, "WeightedMean", True, True, "WeightedMean turns 4 into 2.*straight_through=False"),
        (8, "Maximum", True, False, "Unknown aggregator 'Maximum'.*Did you mean 'Max'"),
    ],
)
def test_what_does_not_fit_is_refused(width, aggregator, split, straight_through, message):
    with pytest.raises(ValueError, match=message):
        AggregatedEncoder(PointwiseEncoder(3, width), aggregator, split, straight_through)


def test_an_odd_width_without_split_is_fine():
    assert AggregatedEncoder(PointwiseEncoder(3, 7), "Max", split=False).output_dim == 7
