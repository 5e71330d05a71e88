"""What holds for every encoder: a whole sequence at once is the same as one step after the other."""

import pytest
import torch as th

from sb3_hyper.encoders import ENCODERS, SequenceEncoder, TransformerEncoder, make_encoder

N_SEQUENCES = 4


def step_by_step(encoder, x, memory, resets):
    encodings = []
    for t in range(len(x)):
        start = th.where(resets[t, :, None], 0.0, memory)
        encoding, memory = encoder(x[t : t + 1], start, th.zeros_like(resets[:1]))
        encodings.append(encoding)
    return th.cat(encodings), memory


def with_gradients(encoder, run, x, memory, resets):
    encodings, last = run(x, memory, resets)
    projection = th.randn(encodings.shape, dtype=x.dtype, generator=th.Generator().manual_seed(1))
    leaves = [leaf for leaf in (x, memory, *encoder.parameters()) if leaf.numel()]
    gradients = th.autograd.grad((encodings * projection).sum(), leaves)
    return encodings, last, *gradients


@pytest.mark.parametrize("n_steps", [1, 2, 13])
def test_a_sequence_equals_its_steps(encoder, sequences, n_steps):
    inputs = sequences(n_steps)
    fast = with_gradients(encoder, encoder, *inputs)
    slow = with_gradients(encoder, lambda *inputs: step_by_step(encoder, *inputs), *inputs)
    assert fast[0].shape == (n_steps, N_SEQUENCES, encoder.output_dim)
    assert fast[1].shape == (N_SEQUENCES, encoder.state_dim)
    th.testing.assert_close(fast, slow)


def test_two_chunks_equal_one(encoder, sequences):
    x, memory, resets = sequences(9)
    whole = with_gradients(encoder, encoder, x, memory, resets)
    for cut in (1, 4, 8):

        def in_chunks(x, memory, resets, cut=cut):
            first, memory = encoder(x[:cut], memory, resets[:cut])
            second, memory = encoder(x[cut:], memory, resets[cut:])
            return th.cat((first, second)), memory

        th.testing.assert_close(with_gradients(encoder, in_chunks, x, memory, resets), whole)


def test_zeros_are_the_memory_of_an_empty_trial(encoder, sequences):
    x, memory, resets = sequences(6)
    resets[0] = True
    after_reset = encoder(x, memory, resets)
    resets[0] = False
    empty = encoder.initial_state(N_SEQUENCES)
    assert th.equal(empty, th.zeros(N_SEQUENCES, encoder.state_dim))
    th.testing.assert_close(encoder(x, empty.double(), resets), after_reset)


def test_nothing_crosses_the_start_of_a_trial(encoder, sequences):
    x, memory, resets = sequences(7)
    resets[:] = False
    resets[4] = True
    encodings, last = encoder(x, memory, resets)
    leaves = [leaf for leaf in (x, memory) if leaf.numel()]
    gradient, *memory_gradient = th.autograd.grad(encodings[4:].square().sum(), leaves)
    assert th.count_nonzero(gradient[:4]) == 0
    assert th.count_nonzero(gradient[4:]) > 0
    assert all(th.count_nonzero(g) == 0 for g in memory_gradient)
    other = th.cat((5 * th.randn_like(x[:4]), x[4:]))
    other_encodings, other_last = encoder(other, memory + 1.0, resets)
    assert th.equal(other_encodings[4:], encodings[4:])
    assert th.equal(other_last, last)


def test_encoders_are_causal(encoder, sequences):
    x, memory, resets = sequences(7)
    other = th.cat((x[:4], th.randn_like(x[4:])))
    th.testing.assert_close(encoder(other, memory, resets)[0][:4], encoder(x, memory, resets)[0][:4])


def test_unknown_encoder_proposes_the_nearest():
    with pytest.raises(ValueError, match="Unknown encoder 'lstmm'.*Did you mean 'lstm'"):
        make_encoder("lstmm", 3, 8)


@pytest.mark.parametrize(("input_dim", "output_dim"), [(0, 8), (3, 0)])
@pytest.mark.parametrize("name", ENCODERS)
def test_widths_below_one_are_refused(name, input_dim, output_dim):
    message = "output_dim=0, wanted at least 1" if input_dim else "input_dim=0, wanted at least 1"
    with pytest.raises(ValueError, match=message):
        make_encoder(name, input_dim, output_dim)


@pytest.mark.parametrize("width", ["8", 8.0])
@pytest.mark.parametrize("name", ENCODERS)
def test_widths_are_whole_numbers(name, width):
    with pytest.raises(ValueError, match=f"output_dim={width!r}, wanted at least 1, and a whole number"):
        make_encoder(name, 3, width)
    with pytest.raises(ValueError, match=f"input_dim={width!r}, wanted at least 1, and a whole number"):
        make_encoder(name, width, 8)


def test_sequences_without_a_step_are_refused(encoder):
    state, no_step = encoder.initial_state(2).double(), th.zeros(0, 2, encoder.input_dim, dtype=th.float64)
    if encoder.state_dim == 0:
        assert encoder(no_step, state, th.zeros(0, 2, dtype=th.bool))[0].shape == (0, 2, encoder.output_dim)
        return
    with pytest.raises(ValueError, match="wanted at least one"):
        encoder(no_step, state, th.zeros(0, 2, dtype=th.bool))


@pytest.mark.parametrize("name", sorted(set(ENCODERS) - {"pointwise"}))
def test_they_are_refused_on_other_devices_too(name):
    encoder = make_encoder(name, 3, 8).to("meta")
    with pytest.raises(ValueError, match=r"Sequences of shape \(0, 2, 3\), wanted at least one step"):
        encoder(
            th.zeros(0, 2, 3, device="meta"),
            encoder.initial_state(2, "meta"),
            th.zeros(0, 2, dtype=th.bool, device="meta"),
        )


class Delayed(SequenceEncoder):
    """An encoder of a user, with a keyword of its own: the features of the last transition, scaled."""

    def __init__(self, input_dim, output_dim, scale=1.0):
        super().__init__(input_dim, output_dim, state_dim=input_dim)
        self.scale = scale

    def forward(self, x, state, resets):
        before = th.where(resets[..., None], 0.0, th.cat((state[None], x[:-1])))
        return self.scale * before, x[-1]


class WithAnyKeyword(Delayed):
    def __init__(self, input_dim, output_dim, **kwargs):
        super().__init__(input_dim, output_dim, **kwargs)


@pytest.mark.parametrize("encoder", [Delayed, WithAnyKeyword])
def test_an_encoder_of_ones_own_is_built_with_its_keywords(encoder):
    built = make_encoder(encoder, 3, 3, scale=2.0)
    assert type(built) is encoder and built.scale == 2.0
    layers = make_encoder(encoder, 3, 3, n_layers=2, scale=2.0)
    x, resets = th.randn(5, 1, 3), th.zeros(5, 1, dtype=th.bool)
    th.testing.assert_close(layers(x, layers.initial_state(1), resets)[0][2:], 4 * x[:-2])


class ThreeHeads(TransformerEncoder):
    """Forwards what it does not know to a parent which names ``n_layers``."""

    def __init__(self, i, o, **kwargs):
        super().__init__(i, o, n_heads=3, token_dim=12, **kwargs)


class ThreeHeadsAndAName(ThreeHeads):
    def __init__(self, *args, name="", **kwargs):
        super().__init__(*args, **kwargs)
        self.name = name


class Renamed(ThreeHeadsAndAName):
    """Without an ``__init__`` of its own."""


@pytest.mark.parametrize("encoder", [ThreeHeads, ThreeHeadsAndAName, Renamed])
def test_layers_reach_the_parent_that_knows_them(encoder):
    built = make_encoder(encoder, 3, 8, n_layers=3, context_length=5)
    assert type(built) is encoder and len(built.layers) == 3 and built.context_length == 5


class OneLayer(TransformerEncoder):
    """Keeps ``n_layers`` to itself."""

    def __init__(self, input_dim, output_dim, token_dim=8):
        super().__init__(input_dim, output_dim, n_layers=1, token_dim=token_dim, context_length=5)


def test_layers_do_not_reach_a_parent_that_a_class_hides():
    built = make_encoder(OneLayer, 3, 8, n_layers=2, token_dim=6)
    assert [type(layer) for layer in built.encoders] == [OneLayer, OneLayer]
    assert built.encoders[1].token_dim == 6


def test_a_named_keyword_beside_any_positional_argument():
    assert make_encoder(ThreeHeadsAndAName, 3, 8, name="x").name == "x"


@pytest.mark.parametrize("encoder", ["gru", "transformer", Delayed, WithAnyKeyword])
@pytest.mark.parametrize(
    ("keyword", "hint"),
    [("output_dim", "is encoder_dim"), ("input_dim", "policy knows the width"), ("encoder", "encoder='gru'")],
)
def test_what_is_set_elsewhere_is_no_keyword_of_an_encoder(encoder, keyword, hint):
    with pytest.raises(TypeError, match=f"got the keyword '{keyword}' in encoder_kwargs.*{hint}"):
        make_encoder(encoder, 3, 8, **{keyword: 5})


@pytest.mark.parametrize("encoder", [Delayed(3, 3), th.nn.GRU, None, 3])
def test_what_is_no_encoder_is_refused(encoder):
    with pytest.raises(TypeError, match=r"encoder=.*wanted a name \(gru, .*subclass of SequenceEncoder"):
        make_encoder(encoder, 3, 3)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_keyword_that_an_encoder_does_not_take_is_named_with_what_it_takes(name):
    with pytest.raises(TypeError, match=f"The encoder '{name}' got the keyword 'n_layer' .*n_layers.*mean 'n_layers'"):
        make_encoder(name, 3, 8, n_layer=2)
