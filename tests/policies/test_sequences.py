"""Three ways through a policy give one result: step by step, time-major and sb3-contrib's sequence-major."""

import pytest
import torch as th
from gymnasium import spaces
from sb3_contrib.common.recurrent.type_aliases import RNNStates

from sb3_hyper.policies import POLICIES

# Policies whose encoder an objective trains say so to whoever calls them as RecurrentPPO does.
pytestmark = pytest.mark.filterwarnings("ignore:.*the encoder. it stays")

T, B = 7, 3


def make_batch(policy, sample, seed=0):
    """Time-major observations and actions, a memory that is not empty, and resets."""
    th.manual_seed(seed)
    everything, _ = policy.obs_to_tensor(sample(policy.observation_space, (T + 2) * B))
    earlier, obs = ({key: x[rows] for key, x in everything.items()} for rows in (slice(2 * B), slice(2 * B, None)))
    actions = th.as_tensor(sample(policy.action_space, T * B))
    if isinstance(policy.action_space, spaces.MultiBinary):
        actions = actions.float()  # as SB3's Bernoulli distribution samples them
    none = th.zeros(2, B, dtype=th.bool)
    memory = policy.agent.encode(earlier, th.zeros(B, policy.memory_dim), none).memory
    resets = th.rand(T, B) < 0.3
    resets[0] = th.tensor([True, False, False])
    return obs, actions, memory.detach(), resets


def with_gradients(policy, values, log_prob, entropy):
    """Everything that comes out, time-major ``(T, B)``, and the gradients of a random projection of it."""
    parts = [part for part in (values, log_prob, entropy) if part is not None]
    projection = th.randn(len(parts), T, B, generator=th.Generator().manual_seed(1))
    objective = sum((part * p).sum() for part, p in zip(parts, projection, strict=True))
    gradients = th.autograd.grad(objective, tuple(policy.parameters()), allow_unused=True)
    return *parts, *(th.zeros(()) if g is None else g for g in gradients)


def time_major(policy, obs, actions, memory, resets):
    return (part.view(T, B) for part in policy.evaluate_sequences(obs, actions, memory, resets)[:3])


def packed(policy, memory):
    padded = th.nn.functional.pad(memory, (0, 2 * policy.lstm_actor.hidden_size - policy.memory_dim))
    halves = tuple(half.contiguous()[None] for half in padded.chunk(2, dim=1))
    return RNNStates(halves, halves)


def step_by_step(policy, obs, actions, memory, resets):
    states, parts = packed(policy, memory), []
    for t in range(T):
        rows = slice(t * B, (t + 1) * B)
        now = {key: x[rows] for key, x in obs.items()}
        starts = resets[t].float()
        values = policy.predict_values(now, states.vf, starts)[:, 0]
        distribution, _ = policy.get_distribution(now, states.pi, starts)
        taken = actions[rows].view(B, -1) if isinstance(policy.action_space, spaces.Box) else actions[rows]
        parts.append((values, distribution.log_prob(taken), distribution.entropy()))
        states = policy(now, states, starts)[3]
    return (th.stack(part) for part in zip(*parts, strict=True))


def sequence_major(policy, obs, actions, memory, resets):
    def reorder(x):
        return x.unflatten(0, (T, B)).transpose(0, 1).flatten(0, 1)

    obs = {key: reorder(x) for key, x in obs.items()}
    starts = resets.t().flatten().float()
    values, *rest = policy.evaluate_actions(obs, reorder(actions), packed(policy, memory), starts)
    assert values.shape == (B * T, 1)
    return (part.view(B, T).t() for part in (values, *rest))


def test_all_orders_agree_for_every_policy(policy_class, make_policy, sample, scramble):
    policy = scramble(make_policy(policy_class))
    batch = make_batch(policy, sample)
    results = [with_gradients(policy, *way(policy, *batch)) for way in (time_major, sequence_major, step_by_step)]
    # Straight-through: the running sum whose gradient is taken begins with the batch, so one step alone has no past.
    n_parts = 3 if policy.settings.straight_through else len(results[0])
    th.testing.assert_close(results[1], results[0], rtol=1e-4, atol=5e-4)
    th.testing.assert_close(results[2][:n_parts], results[0][:n_parts], rtol=1e-4, atol=5e-4)


def test_all_orders_agree_for_every_trial(trial_case, make_policy, sample, scramble):
    policy = scramble(make_policy(POLICIES["SplAggerPolicy"], trial_case))
    batch = make_batch(policy, sample)
    results = [list(way(policy, *batch)) for way in (time_major, sequence_major, step_by_step)]
    th.testing.assert_close(results[1], results[0], rtol=1e-3, atol=1e-3)
    th.testing.assert_close(results[2], results[0], rtol=1e-3, atol=1e-3)


def test_log_probabilities_of_acting_are_those_of_evaluating(make_exploring_policy, sample):
    policy = make_exploring_policy(POLICIES["RNNHNPolicy"], B)
    obs, _, memory, resets = make_batch(policy, sample)
    now = {key: x[:B] for key, x in obs.items()}
    actions, values, log_prob, _ = policy.act(now, memory, resets[0])
    assert actions.shape == (B, *policy.action_space.shape)
    evaluated = policy.evaluate_sequences(now, actions, memory, resets[:1])
    th.testing.assert_close(evaluated[:2], (values, log_prob))
    th.testing.assert_close(policy.evaluate_values(now, memory, resets[:1]), values)
    assert evaluated[2].shape == (B,)


def test_squashed_actions_have_no_entropy_in_closed_form(make_policy, sample):
    case = (spaces.Box(-1, 1, (3,)), spaces.Box(-5, 3, (2,)))
    policy = make_policy(POLICIES["RNNSPolicy"], case, use_sde=True, squash_output=True)
    policy.reset_noise(B)
    obs = th.as_tensor(sample(policy.observation_space, B))
    actions, values, log_prob, memory = policy.act(obs, th.zeros(B, policy.memory_dim), th.ones(B, dtype=th.bool))
    assert actions.abs().max() < 1
    evaluated = policy.evaluate_sequences(obs, actions, th.zeros_like(memory), th.ones(1, B, dtype=th.bool))
    th.testing.assert_close(evaluated[:2], (values, log_prob), rtol=1e-3, atol=1e-3)
    assert evaluated[2] is None
    predicted, _ = policy.predict(obs.numpy())
    assert all(action in policy.action_space for action in predicted)
