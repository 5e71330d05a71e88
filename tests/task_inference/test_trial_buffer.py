"""The buffer keeps whole trials, whatever rollouts cut them into."""

import hypothesis.strategies as st
import pytest
import torch as th
from hypothesis import given, settings

from sb3_hyper.task_inference import TrialBuffer


def play(lengths, n_steps):
    """One environment that plays trials of these lengths: numbered steps, starts, and a done after each step."""
    total = sum(lengths)
    starts, dones = th.zeros(total, dtype=th.bool), th.zeros(total, dtype=th.bool)
    ends = th.tensor(lengths).cumsum(0)
    starts[th.cat((th.zeros(1, dtype=th.long), ends[:-1]))] = True
    dones[ends - 1] = True
    n_rollouts = total // n_steps
    return [
        (th.arange(i * n_steps, (i + 1) * n_steps), starts[i * n_steps :][:n_steps], dones[(i + 1) * n_steps - 1])
        for i in range(n_rollouts)
    ]


def add(buffer, *rollouts_of_envs):
    n_completed = 0
    for rollouts in zip(*rollouts_of_envs, strict=True):
        numbers, starts, ended = (th.stack(part, dim=-1) for part in zip(*rollouts, strict=True))
        n_completed += buffer.add_rollout({"number": numbers, "square": (numbers**2)[..., None]}, starts, ended)
    return n_completed


def kept(buffer):
    return sorted(trial["number"].tolist() for trial in buffer.trials)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=12),
    n_steps=st.integers(1, 9),
)
def test_trials_are_put_together_again(lengths, n_steps):
    buffer = TrialBuffer(1000)
    rollouts = play(lengths, n_steps)
    n_completed = add(buffer, rollouts)
    n_seen, expected, first = len(rollouts) * n_steps, [], 0
    for length in lengths:
        if first + length <= n_seen:
            expected.append(list(range(first, first + length)))
        first += length
    # The end of a trial is known from the next one's start, or from the done behind a rollout.
    assert kept(buffer) == expected
    assert n_completed == len(expected)
    assert buffer.n_steps == sum(map(len, expected))


def test_environments_are_kept_apart():
    buffer = TrialBuffer(1000)
    add(buffer, play([3, 4, 5], 4), play([5, 1, 6], 4))
    assert kept(buffer) == sorted([[*range(3)], [*range(3, 7)], [*range(7, 12)], [*range(5)], [5], [*range(6, 12)]])
    for trial in buffer.trials:
        assert th.equal(trial["square"][:, 0], trial["number"] ** 2)


def test_oldest_trials_go_first():
    buffer = TrialBuffer(7)
    add(buffer, play([3, 3, 3], 3))
    assert kept(buffer) == [[3, 4, 5], [6, 7, 8]] and buffer.n_steps == 6


def test_trial_longer_than_the_buffer_keeps_its_beginning():
    buffer = TrialBuffer(5)
    add(buffer, play([12, 4], 4))
    assert kept(buffer) == [[12, 13, 14, 15]]
    add(buffer, play([12], 4))
    assert kept(buffer) == [[0, 1, 2, 3, 4]]
    assert all(sum(len(piece["number"]) for piece in pieces) <= 8 for pieces in buffer._pieces.values())


def test_trials_that_a_reset_broke_off_are_no_trials():
    buffer = TrialBuffer(100)
    (first, *_), second = play([6, 6], 4), play([4], 4)
    add(buffer, [first])
    add(buffer, second)
    assert kept(buffer) == [[0, 1, 2, 3]]


def test_what_began_before_the_buffer_is_left_out():
    buffer = TrialBuffer(100)
    add(buffer, play([6, 2], 4)[1:])
    assert kept(buffer) == [[6, 7]]


def test_samples_are_padded_behind_their_ends():
    th.manual_seed(0)
    buffer = TrialBuffer(100)
    add(buffer, play([1, 2, 4, 1], 4))
    parts, mask = buffer.sample(50)
    assert mask.shape == (4, 50) and parts["square"].shape == (4, 50, 1)
    found = {tuple(parts["number"][mask[:, b], b].tolist()) for b in range(50)}
    assert found == {(0,), (1, 2), (3, 4, 5, 6), (7,)}
    assert (parts["number"][~mask] == 0).all()


@pytest.mark.parametrize("capacity", [100, 6])
def test_saved_and_loaded(capacity):
    buffer, other = TrialBuffer(100), TrialBuffer(capacity)
    assert buffer.state_dict() == {}
    add(buffer, play([1, 2, 4, 1], 4))
    add(other, play([8], 4))
    other.load_state_dict(buffer.state_dict())
    assert kept(other) == (kept(buffer) if capacity == 100 else [[3, 4, 5, 6], [7]])
    other.load_state_dict({})
    assert kept(other) == [] and other.n_steps == 0


def test_a_trial_is_not_stitched_over_steps_that_are_missing():
    buffer = TrialBuffer(1000)
    first, _, third = play([10, 2], 4)
    add(buffer, [first])
    buffer.drop_unfinished()
    add(buffer, [third])
    assert kept(buffer) == [[10, 11]]


def test_loaded_trials_do_not_keep_others_alive():
    buffer, smaller = TrialBuffer(1000), TrialBuffer(3)
    add(buffer, play([5, 4, 3], 12))
    smaller.load_state_dict(buffer.state_dict())
    assert kept(smaller) == [[9, 10, 11]]
    assert smaller.trials[0]["number"].untyped_storage().nbytes() == 3 * 8


def test_loaded_trials_come_to_the_buffers_device():
    buffer, other = TrialBuffer(100), TrialBuffer(100, "meta")
    add(buffer, play([5, 4, 3], 12))
    other.load_state_dict(buffer.state_dict())
    assert [trial["number"].device.type for trial in other.trials] == ["meta"] * 3
