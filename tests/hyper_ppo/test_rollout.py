"""What a rollout holds."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from sb3_hyper.envs import TMazeLS, TrialVecEnv
from sb3_hyper.hyper_ppo import HyperPPO, collection
from sb3_hyper.hyper_ppo.collection import as_env_actions, time_limit_values
from sb3_hyper.hyper_ppo.rollout_buffer import SequenceRolloutBuffer
from sb3_hyper.policies.recurrent_state import pack_memory

POLICIES = [
    "RNNPolicy",
    "RNNHNPolicy",
    "RNNFiLMPolicy",
    "LSTMHNPolicy",
    "SplAggerPolicy",
    "AMRLPolicy",
    "SoftmaxPolicy",
    "PEARLPolicy",
]


def evaluated(model, batch):
    with th.no_grad():
        return model.policy.evaluate_sequences(
            batch.observations, batch.actions, batch.memory, batch.resets, batch.latent_noise
        )[:3]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("batch_size", "bptt_length"), [(36, None), (12, 4), (36, 3), (6, None), (36, 1)])
def test_evaluating_a_rollout_gives_what_acting_gave(make_model, collect, policy, batch_size, bptt_length):
    model = make_model(policy, batch_size=batch_size, bptt_length=bptt_length)
    for _ in range(2):
        buffer = collect(model)
        assert 0 < buffer.episode_starts[1:].sum() < buffer.episode_starts[1:].numel()
        for batch in buffer.get(batch_size):
            values, log_prob, _ = evaluated(model, batch)
            th.testing.assert_close(values, batch.old_values, rtol=1e-5, atol=1e-5)
            th.testing.assert_close(log_prob, batch.old_log_prob, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "action_space",
    [spaces.MultiDiscrete([3, 2]), spaces.MultiBinary(3), spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (2, 3))],
)
@pytest.mark.parametrize("trial", [True, False])
def test_every_action_space(make_envs, make_model, collect, action_space, trial):
    model = make_model(env=make_envs(trial=trial, action_space=action_space))
    (batch,) = collect(model).get(36)
    values, log_prob, entropy = evaluated(model, batch)
    th.testing.assert_close(values, batch.old_values, rtol=1e-5, atol=1e-5)
    th.testing.assert_close(log_prob, batch.old_log_prob, rtol=1e-5, atol=1e-5)
    assert log_prob.shape == entropy.shape == (36,)
    model.learn(36)


STATES = {
    "image": spaces.Box(0, 255, (36, 36, 3), np.uint8),
    "discrete": spaces.Discrete(5),
    "multi-discrete": spaces.MultiDiscrete([3, 2]),
    "multi-binary": spaces.MultiBinary(4),
    "matrix": spaces.Box(-1, 1, (2, 3), np.float64),
    "dict": spaces.Dict(flat=spaces.Box(-1, 1, (3,)), number=spaces.Discrete(5)),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("trial", [True, False])
def test_every_state_space(make_envs, make_model, collect, state, trial):
    if trial and state == "dict":
        pytest.skip("a trial's state is no Dict")
    model = make_model(env=make_envs(trial=trial, observation_space=STATES[state]))
    (batch,) = collect(model).get(36)
    values, log_prob, _ = evaluated(model, batch)
    th.testing.assert_close(values, batch.old_values, rtol=1e-4, atol=1e-4)
    th.testing.assert_close(log_prob, batch.old_log_prob, rtol=1e-4, atol=1e-4)
    model.learn(36)


@pytest.mark.parametrize("squash_output", [True, False])
def test_state_dependent_exploration(make_envs, make_model, collect, squash_output):
    model = make_model(
        env=make_envs(action_space=spaces.Box(-2, 5, (2,))),
        policy_kwargs={"squash_output": squash_output},
        use_sde=True,
        sde_sample_freq=4,
    )
    (batch,) = collect(model).get(36)
    _, log_prob, entropy = evaluated(model, batch)
    assert (entropy is None) == squash_output
    th.testing.assert_close(log_prob, batch.old_log_prob, rtol=1e-3, atol=1e-3)
    model.learn(72)


@pytest.mark.parametrize("policy", POLICIES)
def test_memory_is_carried_from_one_rollout_to_the_next(make_model, collect, policy):
    """Two rollouts are one sequence of twice the length."""
    model = make_model(policy)
    rollouts = []
    for _ in range(2):
        buffer = collect(model)
        rollouts.append(
            [
                x.clone()
                for x in (
                    *buffer.observations.values(),
                    buffer.latent_noise,
                    buffer.actions,
                    buffer.episode_starts,
                    buffer.values,
                )
            ]
        )
    assert not rollouts[1][-2][0].all()
    *observations, noise, actions, starts, values = (th.cat(parts) for parts in zip(*rollouts, strict=True))
    observations = {key: x.flatten(0, 1) for key, x in zip(buffer.observations, observations, strict=True)}
    memory = th.zeros(3, model.policy.memory_dim)
    with th.no_grad():
        expected = model.policy.evaluate_sequences(
            observations, actions.flatten(0, 1), memory, starts, noise.flatten(0, 1)
        )[0]
    th.testing.assert_close(values, expected.view_as(values), rtol=1e-5, atol=1e-5)


def test_a_rollout_that_a_callback_stops_leaves_memory_and_observation_in_step(make_model, collect):
    """The memory is the one before the observation that comes next."""
    stopped, complete = make_model(), make_model(n_steps=7, batch_size=21)
    th.manual_seed(0)
    # Called after the eighth step is taken and before it is kept.
    stopped.learn(36, callback=lambda local, _: local["n_steps"] < 7)
    th.manual_seed(0)
    collect(complete)
    for key, x in complete._last_obs.items():
        np.testing.assert_array_equal(stopped._last_obs[key], x)
    th.testing.assert_close(stopped._last_memory, complete._last_memory)


def make_buffer(n_steps, n_envs, length=None, **kwargs):
    space = spaces.Box(-1, 1, (1,))
    settings = {"memory_dim": 2, "noise_dim": 1, "gamma": 0.9, "gae_lambda": 0.8, "device": th.device("cpu"), **kwargs}
    return SequenceRolloutBuffer(
        n_steps, n_envs, length or n_steps, **settings, observation_space=space, action_space=space
    )


@pytest.mark.parametrize(("n_steps", "n_envs"), [(1, 1), (2, 3), (25, 4)])
@pytest.mark.parametrize(("gamma", "gae_lambda"), [(0.9, 0.8), (1.0, 1.0), (0.5, 0.0)])
def test_advantages_are_those_of_sb3(n_steps, n_envs, gamma, gae_lambda):
    space, rng = spaces.Box(-1, 1, (1,)), np.random.default_rng(0)
    theirs = RolloutBuffer(n_steps, space, space, "cpu", gae_lambda, gamma, n_envs)
    ours = make_buffer(n_steps, n_envs, gamma=gamma, gae_lambda=gae_lambda)
    zeros, rewards = np.zeros((n_envs, 1)), rng.normal(size=(n_steps, n_envs)).astype(np.float32)
    for t in range(n_steps):
        values, log_probs = th.randn(2, n_envs)
        starts = rng.random(n_envs) < 0.3
        theirs.add(zeros, zeros, rewards[t], starts, values, log_probs)
        ours.add(th.zeros(n_envs, 1), th.as_tensor(starts), log_probs, th.zeros(n_envs, 2), th.zeros(n_envs, 1))
        ours.write_values(values[None])
    last_values, dones = th.randn(n_envs), rng.random(n_envs) < 0.5
    theirs.compute_returns_and_advantage(last_values, dones)
    ours.finish(th.as_tensor(rewards), last_values, th.as_tensor(dones))
    np.testing.assert_allclose(ours.advantages, theirs.advantages, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.returns, theirs.returns, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_together", [1, 2, 5, 12, 100])
def test_values_are_the_critics_however_many_steps_wait_for_them(make_model, collect, monkeypatch, n_together):
    model = make_model("SplAggerPolicy")
    monkeypatch.setattr(collection, "VALUED_TOGETHER", n_together * model.n_envs)
    buffer = collect(model)
    batch = next(buffer.get(model.n_steps * model.n_envs))
    th.testing.assert_close(batch.old_values, evaluated(model, batch)[0])


@pytest.mark.parametrize(("length", "batch_size"), [(6, 24), (6, 6), (3, 12), (1, 4), (2, 24)])
def test_minibatches_partition_the_rollout(length, batch_size):
    """Every step is in one minibatch, in a whole sequence with the memory from its start."""
    buffer = make_buffer(6, 4, length)
    numbers = 10.0 * th.arange(4) + th.arange(6)[:, None]
    for number in numbers:
        buffer.write_observation(number[:, None])
        buffer.add(number[:, None], number % 7 == 0, number, th.stack((number, number), dim=1), number[:, None])
    buffer.write_values(numbers)
    buffer.finish(numbers, th.zeros(4), th.zeros(4, dtype=th.bool))
    buffer.advantages[:] = buffer.returns[:] = numbers
    orders = []
    for _ in range(2):
        batches = list(buffer.get(batch_size))
        assert [len(batch.returns) for batch in batches] == [batch_size] * (24 // batch_size)
        for batch in batches:
            sequences = batch.returns.view(length, -1)
            assert th.equal(batch.memory[:, 0], sequences[0])
            assert (sequences[0] % 10 % length == 0).all()
            assert th.equal(sequences, sequences[0] + th.arange(length)[:, None])
            assert th.equal(batch.resets, sequences % 7 == 0)
            for part in (batch.actions[:, 0], batch.observations[:, 0], batch.latent_noise[:, 0], *batch[2:5]):
                assert th.equal(part, batch.returns)
        orders.append(th.cat([batch.returns for batch in batches]).tolist())
    assert sorted(orders[0]) == sorted(numbers.flatten().tolist())
    assert orders[0] != orders[1] or batch_size == 24


def test_buffer_keeps_the_types_of_what_it_stores():
    observation_space = spaces.Dict(
        image=spaces.Box(0, 255, (3, 4, 4), np.uint8), number=spaces.Discrete(4), flat=spaces.Box(-1, 1)
    )
    buffer = SequenceRolloutBuffer(2, 1, 2, 0, 0, observation_space, spaces.Discrete(300), th.device("cpu"), 0.9, 0.9)
    assert [buffer.observations[key].dtype for key in ("image", "number", "flat")] == [th.uint8, th.int64, th.float32]
    assert buffer.actions.dtype == th.int64


@pytest.mark.parametrize("trial", [True, False])
def test_values_at_time_limits_are_those_of_one_by_one(make_envs, make_model, trial):
    """The loop of sb3-contrib's RecurrentPPO against one batch."""
    env = make_envs(5, trial)
    policy, n_limited = make_model(env=env, batch_size=60).policy, 0
    env.reset()
    for _ in range(30):
        memory, expected = th.randn(5, policy.memory_dim).abs(), th.zeros(5)
        _, _, dones, infos = env.step(np.zeros(5, dtype=int))
        for i, info in enumerate(infos):
            if dones[i] and info["TimeLimit.truncated"]:
                n_limited += 1
                obs, _ = policy.obs_to_tensor(info["terminal_observation"])
                states = pack_memory(memory[i : i + 1], policy.lstm_actor)
                with th.no_grad():
                    expected[i] = policy.predict_values(obs, states.vf, th.zeros(1))[0, 0]
        values = time_limit_values(policy, memory, infos)
        th.testing.assert_close(th.zeros(5) if values is None else values, expected)
    assert n_limited > 5


def test_the_losses_see_scaled_rewards_and_the_encoder_raw_ones(make_envs, make_model, collect):
    model = make_model(env=make_envs(), normalize_reward=True, n_steps=60, batch_size=60, gamma=0.9)
    buffer = collect(model)
    reference, raw_rewards, limited = VecNormalize(make_envs(), norm_obs=False, gamma=0.9), [], []
    reference.seed(0)
    reference.reset()
    for t, actions in enumerate(buffer.actions.numpy()):
        obs, _, dones, infos = reference.step(actions)
        raw_rewards.append(reference.get_original_reward())
        limited.append([info["TimeLimit.truncated"] for info in infos])
        if t < 59:
            np.testing.assert_array_equal(buffer.observations["previous_reward"][t + 1], obs["previous_reward"])
            np.testing.assert_allclose(obs["previous_reward"][:, 0], np.where(dones, 0.0, raw_rewards[t]))
    scaled, limited = reference.normalize_reward(np.stack(raw_rewards)), np.array(limited)
    np.testing.assert_allclose(buffer.rewards[~limited], scaled[~limited], rtol=1e-3)


def test_environments_that_speak_tensors(make_model, collect):
    model = make_model(env=TrialVecEnv(TMazeLS(), 3, device="cpu"))
    (batch,) = collect(model).get(36)
    th.testing.assert_close(evaluated(model, batch)[0], batch.old_values, rtol=1e-5, atol=1e-5)
    model.learn(72)


def test_trials_move_to_the_gpu_with_the_algorithm(make_model, monkeypatch):
    class Elsewhere:
        type = "cuda"

    plain, wrapped = (make_model(env=env(TrialVecEnv(TMazeLS(), 3))) for env in (lambda trials: trials, VecMonitor))
    moves = []
    monkeypatch.setattr(TrialVecEnv, "move_to", lambda _, device: moves.append(device))
    for model, n_moves in ((plain, 1), (wrapped, 0)):
        model._setup_learn(36)
        model.device = Elsewhere()
        model._setup_learn(36, reset_num_timesteps=False)
        assert moves == []
        model._setup_learn(36)
        assert len(moves) == n_moves
        moves.clear()


@pytest.mark.skipif(not th.cuda.is_available(), reason="there is no GPU")
def test_nothing_leaves_the_gpu():
    class SeenTensors(BaseCallback):
        def _on_step(self):
            given = (*self.locals["new_obs"].values(), self.locals["rewards"], self.locals["clipped_actions"])
            assert all(tensor.is_cuda for tensor in given)
            return True

    env = TrialVecEnv(TMazeLS(), 3)
    HyperPPO("SplAggerPolicy", env, n_steps=12, batch_size=36, device="cuda").learn(72, SeenTensors())


def test_actions_stay_inside_the_bounds(make_envs, make_model):
    policy = make_model(env=make_envs(action_space=spaces.Box(-1, 3, (2,)))).policy
    actions = th.tensor([[-5.0, 5.0], [0.0, 2.0]])
    as_numpy = as_env_actions(actions, policy, np.zeros(2))
    assert isinstance(as_numpy, np.ndarray)
    assert as_numpy.tolist() == [[-1.0, 3.0], [0.0, 2.0]]
    assert th.equal(as_env_actions(actions, policy, {"a": th.zeros(2)}), th.as_tensor(as_numpy))
    policy._squash_output = True
    squashed = th.tensor([[-1.0, 1.0], [0.0, 0.5]])
    assert as_env_actions(squashed, policy, np.zeros(2)).tolist() == [[-1.0, 3.0], [1.0, 2.0]]
