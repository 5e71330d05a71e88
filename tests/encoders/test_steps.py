"""The step that is prepared for acting is the encoder's forward pass, one step of it."""

import torch as th


def test_steps_are_the_forward_pass(encoder, sequences):
    x, state, resets = sequences(12)
    with th.no_grad():
        step, no_reset = encoder.make_step(), th.zeros_like(resets[:1])
        for now in x:
            expected, expected_state = encoder(now[None], state, no_reset)
            encoding, state = step(now, state)
            th.testing.assert_close(encoding, expected[0])
            th.testing.assert_close(state, expected_state)


def test_steps_leave_their_arguments_alone(encoder, sequences):
    x, state, _ = sequences(1)
    before = x.detach().clone(), state.detach().clone()
    with th.no_grad():
        encoder.make_step()(x[0], state)
    assert th.equal(x, before[0]) and th.equal(state, before[1])
