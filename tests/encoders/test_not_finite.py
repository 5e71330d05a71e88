"""What is not finite stays in its trial: nothing crosses a trial's start, in value or in gradient."""

import math

import pytest
import torch as th

from sb3_hyper.encoders import TransformerEncoder

T, B = 13, 5
NUMBERS = [math.inf, -math.inf, math.nan]


def make_inputs(encoder):
    """
    Features, memory, resets, the broken transitions and those of trials that stay whole, ``(T, B)`` each.

    Sequence 0: a trial that goes on, a broken one, one more. 1: the trial that goes on breaks. 2: the last one breaks.
    3: nothing breaks. 4: the memory comes from a broken trial, and a new one starts at step 3.
    """
    th.manual_seed(0)
    x = th.randn(T + 2, B, encoder.input_dim, dtype=th.float64)
    memory = encoder(x[:2], encoder.initial_state(B).double(), th.zeros(2, B, dtype=th.bool))[1].detach()
    resets, is_broken = th.zeros(2, T, B, dtype=th.bool)
    resets[4, 0] = resets[9, 0] = resets[5, 1] = resets[8, 2] = resets[6, 3] = resets[3, 4] = True
    is_broken[6, 0] = is_broken[2, 1] = is_broken[[8, 12], 2] = True
    is_whole = th.ones(T, B, dtype=th.bool)
    is_whole[4:9, 0] = is_whole[:5, 1] = is_whole[8:, 2] = is_whole[:3, 4] = False
    return x, memory, resets, is_broken, is_whole


def broken_memory(encoder, memory, x, number):
    """Sequence 4's memory after two transitions, the second of which is not finite."""
    x = x[:2].clone()
    x[1, 4] = number
    after = encoder(x, encoder.initial_state(B).double(), th.zeros(2, B, dtype=th.bool))[1].detach()
    return th.where((th.arange(B) == 4)[:, None], after, memory)


def whole_trials(encoder, x, memory, resets, is_whole):
    """Encodings and memories of the whole trials, and the gradients of both for their features and memories."""
    x, memory = x.clone().requires_grad_(), memory.clone().requires_grad_()
    encodings, last = encoder(x, memory, resets)
    encodings, last = encodings[is_whole], last[is_whole[-1]]
    objective = encodings.square().sum() + last.square().sum()
    gradients = th.autograd.grad(objective, (x, memory), materialize_grads=True)
    return encodings, last, gradients[0][is_whole], gradients[1][is_whole[0]]


@pytest.mark.parametrize("number", NUMBERS)
def test_what_is_not_finite_stays_in_its_trial(encoder, number):
    x, memory, resets, is_broken, is_whole = make_inputs(encoder)
    expected = whole_trials(encoder, x[2:], memory, resets, is_whole)
    broken = th.where(is_broken[..., None], number, x[2:])
    memory = broken_memory(encoder, memory, x, number)
    th.testing.assert_close(whole_trials(encoder, broken, memory, resets, is_whole), expected)


@pytest.mark.parametrize("number", NUMBERS)
def test_it_does_so_step_by_step(encoder, number):
    x, memory, resets, is_broken, is_whole = make_inputs(encoder)
    expected, expected_last = encoder(x[2:], memory, resets)
    broken = th.where(is_broken[..., None], number, x[2:])
    memory, encodings = broken_memory(encoder, memory, x, number), []
    for now, reset in zip(broken, resets, strict=True):
        encoding, memory = encoder(now[None], memory, reset[None])
        encodings.append(encoding)
    th.testing.assert_close(th.cat(encodings)[is_whole], expected[is_whole])
    th.testing.assert_close(memory[is_whole[-1]], expected_last[is_whole[-1]])


@pytest.mark.parametrize("number", NUMBERS)
def test_a_transformer_shows_to_the_end_of_a_trial_that_it_broke(number):
    """All at once, in pieces and as it acts: NaN from there on, and a memory that is finite."""
    th.manual_seed(0)
    encoder = TransformerEncoder(3, 6, token_dim=8, context_length=4).double()
    x, memory, resets, is_broken, _ = make_inputs(encoder)
    x = th.where(is_broken[..., None], number, x[2:])
    encodings, last = encoder(x, memory, resets)
    is_nan = th.zeros(T, B, dtype=th.bool)
    is_nan[6:9, 0] = is_nan[2:5, 1] = is_nan[8:, 2] = True
    assert th.equal(encodings.isnan(), is_nan[..., None].expand_as(encodings))
    assert last.isfinite().all() and last[:, -1].tolist() == [4, 8, 2**30, 7, 10]
    first, between = encoder(x[:8], memory, resets[:8])
    second, after = encoder(x[8:], between, resets[8:])
    th.testing.assert_close(th.cat((first, second)), encodings, equal_nan=True)
    step = encoder.make_step()
    with th.no_grad():
        for now, reset, expected in zip(x, resets, encodings, strict=True):
            encoding, memory = step(now, th.where(reset[:, None], 0.0, memory))
            th.testing.assert_close(encoding, expected, equal_nan=True)
    # What the broken trial's keys and values are has no meaning.
    whole = [0, 1, 3, 4]
    for other in (after, memory):
        assert other.isfinite().all() and th.equal(other[:, -1], last[:, -1])
        th.testing.assert_close(other[whole], last[whole])
