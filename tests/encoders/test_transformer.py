"""The Transformer against lists of keys and values that grow one transition at a time."""

import math

import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_hyper.aggregators import AGGREGATORS
from sb3_hyper.encoders.aggregated import AggregatedEncoder
from sb3_hyper.encoders.transformer import TransformerEncoder

INPUT_DIM, OUTPUT_DIM, N_SEQUENCES = 3, 6, 3
few_examples = settings(max_examples=25, deadline=None)


def make_encoder(context_length, n_layers=2, n_heads=2, token_dim=8):
    th.manual_seed(0)
    return TransformerEncoder(INPUT_DIM, OUTPUT_DIM, n_layers, n_heads, token_dim, context_length).double()


def make_inputs(encoder, n_steps, n_before, density=0.2):
    """Features, the memory that ``n_before`` earlier transitions left behind, and resets."""
    x = th.randn(n_before + n_steps, N_SEQUENCES, INPUT_DIM, generator=th.Generator().manual_seed(1)).double()
    resets = th.rand(len(x), N_SEQUENCES, generator=th.Generator().manual_seed(2)) < density
    memory = encoder.initial_state(N_SEQUENCES).double()
    if n_before:
        memory = encoder(x[:n_before], memory, resets[:n_before])[1].detach()
    return x[n_before:].requires_grad_(), memory.requires_grad_(), resets[n_before:]


def with_gradients(encoder, run, x, memory, resets):
    encodings, last = run(x, memory, resets)
    projection = th.randn(encodings.shape, dtype=x.dtype, generator=th.Generator().manual_seed(3))
    objective = (encodings * projection).sum() + last[:, :-1].pow(3).sum()
    leaves = (x, memory, *encoder.parameters())
    return encodings, last, *th.autograd.grad(objective, leaves, materialize_grads=True)


def step_by_step(encoder):
    def run(x, memory, resets):
        encodings = []
        for t in range(len(x)):
            encoding, memory = encoder(x[t : t + 1], memory, resets[t : t + 1])
            encodings.append(encoding)
        return th.cat(encodings), memory

    return run


def attend(query, window, n_heads):
    """One query over a list of keys and values, head after head."""
    token_dim = len(query)
    width, read = token_dim // n_heads, []
    for first in range(0, token_dim, width):
        here, there = slice(first, first + width), slice(token_dim + first, token_dim + first + width)
        weights = [((query[here] * pair[here]).sum() / math.sqrt(width)).exp() for pair in window]
        read.append(sum(weight * pair[there] for weight, pair in zip(weights, window, strict=True)) / sum(weights))
    return th.cat(read)


def token(encoder, x, position):
    angles = [position / 10000 ** (2 * i / encoder.token_dim) for i in range(encoder.token_dim // 2)]
    sinusoid = [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
    return encoder.embedding(x) + th.tensor(sinusoid, dtype=x.dtype)


def twin_of_one(encoder, n_heads, x, memory, resets):
    """One sequence; for every layer the list of the trial's keys and values, oldest first."""
    rows = memory[:-1].reshape(len(encoder.layers), encoder.context_length, -1)
    position = int(memory[-1])
    n_kept = min(position, encoder.context_length)
    trial = [list(layer[encoder.context_length - n_kept :]) for layer in rows]
    encodings = []
    for features, reset in zip(x, resets, strict=True):
        if reset:
            position, trial = 0, [[] for _ in trial]
        y = token(encoder, features, position)
        for layer, pairs in zip(encoder.layers, trial, strict=True):
            normalised = layer.norm(y)
            pairs.append(layer.key_value(normalised))
            y = y + layer.output(attend(layer.query(normalised), pairs[-encoder.context_length :], n_heads))
            y = y + layer.feed_forward(y)
        encodings.append(encoder.readout(y))
        position += 1
    n_empty = max(encoder.context_length - position, 0)
    empty = [x.new_zeros(rows.shape[-1])] * n_empty
    kept = [th.cat(empty + pairs[-encoder.context_length :]) for pairs in trial]
    return th.stack(encodings), th.cat([*kept, x.new_tensor([position])])


def twin(encoder, n_heads):
    def run(x, memory, resets):
        columns = zip(x.unbind(1), memory, resets.unbind(1), strict=True)
        encodings, last = zip(*(twin_of_one(encoder, n_heads, *column) for column in columns), strict=True)
        return th.stack(encodings, dim=1), th.stack(last)

    return run


@pytest.mark.parametrize(("n_layers", "n_heads"), [(1, 1), (2, 2), (3, 4)])
@pytest.mark.parametrize("context_length", [1, 4, 40])
@pytest.mark.parametrize(("n_before", "density"), [(0, 0.0), (11, 0.0), (11, 0.2), (3, 1.0)])
def test_encoder_is_its_slow_twin(n_layers, n_heads, context_length, n_before, density):
    encoder = make_encoder(context_length, n_layers, n_heads)
    inputs = make_inputs(encoder, 9, n_before, density)
    slow = with_gradients(encoder, twin(encoder, n_heads), *inputs)
    th.testing.assert_close(with_gradients(encoder, encoder, *inputs), slow)


@few_examples
@given(
    context_length=st.integers(1, 12),
    n_before=st.integers(0, 20),
    n_steps=st.integers(1, 20),
    density=st.sampled_from([0.0, 0.1, 0.5]),
    data=st.data(),
)
def test_calls_on_chunks_equal_one_call(context_length, n_before, n_steps, density, data):
    encoder = make_encoder(context_length)
    inputs = make_inputs(encoder, n_steps, n_before, density)
    cuts = sorted(data.draw(st.sets(st.integers(1, n_steps), max_size=4)) | {n_steps})

    def in_chunks(x, memory, resets):
        encodings, start = [], 0
        for stop in cuts:
            encoding, memory = encoder(x[start:stop], memory, resets[start:stop])
            encodings.append(encoding)
            start = stop
        return th.cat(encodings), memory

    whole = with_gradients(encoder, encoder, *inputs)
    th.testing.assert_close(with_gradients(encoder, in_chunks, *inputs), whole)


@pytest.mark.parametrize("context_length", [7, 600])
@pytest.mark.parametrize("density", [0.0, 0.03])
def test_acting_equals_training_in_float32(context_length, density):
    encoder = TransformerEncoder(INPUT_DIM, context_length=context_length)
    x = th.randn(700, N_SEQUENCES, INPUT_DIM)
    resets = th.rand(700, N_SEQUENCES) < density
    inputs = (x, encoder.initial_state(N_SEQUENCES), resets)
    with th.no_grad():
        acted, trained = step_by_step(encoder)(*inputs), encoder(*inputs)
    th.testing.assert_close(acted, trained, rtol=0.0, atol=1e-5)


@few_examples
@given(context_length=st.integers(1, 6), n_steps=st.integers(1, 10), reset=st.integers(0, 9))
def test_memory_holds_the_trial_and_nothing_else(context_length, n_steps, reset):
    encoder = make_encoder(context_length)
    x, memory, resets = make_inputs(encoder, n_steps, n_before=8, density=0.0)
    start = min(reset, n_steps - 1)
    resets[start] = True
    last = encoder(x, memory, resets)[1]
    fresh = encoder(x[start:], th.zeros_like(memory), th.zeros_like(resets[start:]))[1]
    th.testing.assert_close(last, fresh)
    trial_length = n_steps - start
    assert th.equal(last[:, -1], th.full_like(last[:, -1], trial_length))
    rows = last[:, :-1].unflatten(1, (2, context_length, -1)).count_nonzero(dim=-1)
    expected = [0] * (context_length - trial_length) + [16] * min(trial_length, context_length)
    assert rows.tolist() == [[expected] * 2] * N_SEQUENCES


@pytest.mark.parametrize(("n_layers", "context_length", "reach"), [(1, 1, 1), (1, 5, 5), (2, 5, 9), (3, 4, 10)])
def test_each_layer_attends_to_the_last_transitions_only(n_layers, context_length, reach):
    encoder = make_encoder(context_length, n_layers)
    x, memory, resets = make_inputs(encoder, 14, n_before=0, density=0.0)
    (gradient,) = th.autograd.grad(encoder(x, memory, resets)[0][-1].sum(), x)
    assert gradient.abs().sum(dim=(1, 2)).ne(0).tolist() == [False] * (14 - reach) + [True] * reach


def test_positions_stay_distinct_beyond_the_window():
    encoder = make_encoder(context_length=3)
    x = th.ones(200, 1, INPUT_DIM, dtype=th.float64)
    encodings = encoder(x, encoder.initial_state(1).double(), th.zeros(200, 1, dtype=th.bool))[0][:, 0]
    assert th.pdist(encodings).min() > 1e-4


@pytest.mark.parametrize("aggregator", AGGREGATORS)
def test_an_aggregator_reads_a_transformer(aggregator):
    encoder = AggregatedEncoder(TransformerEncoder(INPUT_DIM, 8, context_length=4), aggregator).double()
    x, _, resets = make_inputs(encoder.encoder, 9, n_before=0)
    memory = encoder.initial_state(N_SEQUENCES).double()
    th.testing.assert_close(step_by_step(encoder)(x, memory, resets), encoder(x, memory, resets))


@pytest.mark.parametrize("n_steps", [1, 5])
def test_nothing_is_read_back_from_the_device(n_steps):
    """Tensors on the meta device have no values to read."""
    encoder = make_encoder(4).to("meta")
    x = th.empty(n_steps, 2, INPUT_DIM, dtype=th.float64, device="meta")
    memory = encoder.initial_state(2, "meta").double()
    encodings, last = encoder(x, memory, th.empty(n_steps, 2, dtype=th.bool, device="meta"))
    assert encodings.shape == (n_steps, 2, OUTPUT_DIM)
    assert last.shape == memory.shape


def test_default_memory_holds_the_longest_trials_of_the_papers():
    encoder = TransformerEncoder(INPUT_DIM)
    assert (encoder.output_dim, encoder.context_length, encoder.state_dim) == (256, 600, 2 * 2 * 600 * 16 + 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_layers": 0}, "n_layers=0, wanted at least 1"),
        ({"n_layers": "2"}, "n_layers='2', wanted at least 1, and a whole number"),
        ({"n_layers": 2.0}, r"n_layers=2\.0, wanted at least 1, and a whole number"),
        ({"context_length": 0}, "context_length=0, wanted at least 1"),
        ({"context_length": "9"}, "context_length='9', wanted at least 1, and a whole number"),
        ({"token_dim": 10, "n_heads": 4}, "token_dim=10 and n_heads=4.*multiple of n_heads"),
        ({"token_dim": 15, "n_heads": 3}, "token_dim=15 and n_heads=3.*even token_dim"),
        ({"token_dim": 0}, "token_dim=0, wanted at least 1"),
        ({"token_dim": "16"}, "token_dim='16', wanted at least 1, and a whole number"),
        ({"n_heads": 0}, "n_heads=0, wanted at least 1"),
        ({"n_heads": "2"}, "n_heads='2', wanted at least 1, and a whole number"),
        ({"output_dim": 0}, "output_dim=0, wanted at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TransformerEncoder(INPUT_DIM, **arguments)
