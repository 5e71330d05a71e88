"""Learning, logging, callbacks, schedules."""

import csv

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_hyper.envs import make_trials
from sb3_hyper.hyper_ppo import HyperPPO


def parameters(model):
    return th.cat([p.detach().flatten() for p in model.policy.parameters()])


@pytest.mark.parametrize("value_loss", ["huber", "mse"])
@pytest.mark.parametrize("clip_range_vf", [None, 0.2])
def test_one_minibatch_is_one_step_of_the_optimizer(make_model, collect, value_loss, clip_range_vf):
    """By hand: losses as in PPO's paper, advantages normalised, gradient clipped, one step of Adam."""
    settings = {"value_loss": value_loss, "clip_range_vf": clip_range_vf, "ent_coef": 0.1, "vf_coef": 0.3}
    model, twin = (make_model(**settings, learning_rate=1e-2) for _ in range(2))
    twin.policy.load_state_dict(model.policy.state_dict())
    (batch,) = collect(model).get(36)
    model.train()
    values, log_prob, entropy, *_ = twin.policy.evaluate_sequences(
        batch.observations, batch.actions, batch.memory, batch.resets
    )
    advantages = (batch.advantages - batch.advantages.mean()) / (batch.advantages.std() + 1e-8)
    ratio = (log_prob - batch.old_log_prob).exp()
    policy_loss = -th.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).mean()
    distance = th.nn.HuberLoss() if value_loss == "huber" else th.nn.MSELoss()
    # The values are the old ones still, so clipping them changes nothing yet.
    loss = policy_loss - 0.1 * entropy.mean() + 0.3 * distance(values, batch.returns)
    loss.backward()
    th.nn.utils.clip_grad_norm_(twin.policy.parameters(), 0.5)
    twin.policy.optimizer.step()
    th.testing.assert_close(parameters(model), parameters(twin), rtol=1e-4, atol=1e-5)
    assert model.logger.name_to_value["train/loss"] == pytest.approx(loss.item(), rel=1e-4)


def test_same_seed_same_training(make_envs, make_model):
    models = [make_model(env=make_envs(), scrambled=False, n_epochs=2, batch_size=12).learn(72) for _ in range(2)]
    assert th.equal(parameters(models[0]), parameters(models[1]))
    other = make_model(env=make_envs(), scrambled=False, n_epochs=2, batch_size=12, seed=1).learn(72)
    assert not th.equal(parameters(other), parameters(models[0]))


def test_saved_model_goes_on(make_envs, make_model, tmp_path):
    model = make_model(env=make_envs(), normalize_reward=True, learning_rate=1e-3).learn(72)
    model.save(tmp_path / "model")
    loaded = HyperPPO.load(tmp_path / "model", env=make_envs())
    assert th.equal(parameters(loaded), parameters(model))
    for name, part in model.get_parameters().items():
        restored = loaded.get_parameters()[name]
        th.testing.assert_close(restored, part, rtol=0, atol=0, msg=lambda m, name=name: f"{name}: {m}")
    loaded.learn(36, reset_num_timesteps=False)
    assert (loaded.num_timesteps, loaded._n_updates) == (108, 3)
    assert not th.equal(parameters(loaded), parameters(model))


def test_saved_model_without_and_with_another_number_of_environments(make_envs, make_model, tmp_path):
    make_model(normalize_reward=True).learn(36).save(tmp_path / "model")
    loaded = HyperPPO.load(tmp_path / "model")
    loaded.set_env(make_envs(3))
    loaded.learn(36)
    wider = HyperPPO.load(tmp_path / "model", env=make_envs(6))
    wider.learn(72)
    assert wider.rollout_buffer.rewards.shape == (12, 6)


def test_state_normalisation_follows_the_rollouts_and_is_saved(make_model, collect, tmp_path):
    model = make_model()
    seen = []
    for _ in range(2):
        seen.append(collect(model).flat_observations()["observation"].clone())
        model.train()
    moments = model.policy.agent.features.normalization
    everything = th.cat(seen).double()
    th.testing.assert_close(moments.mean, everything.mean(0))
    th.testing.assert_close(moments.variance, everything.var(0, correction=0))
    model.save(tmp_path / "model")
    loaded = HyperPPO.load(tmp_path / "model").policy.agent.features.normalization
    th.testing.assert_close(loaded.state_dict(), moments.state_dict(), rtol=0, atol=0)


def test_parameters_can_be_taken_and_given(make_model, collect):
    first, second = make_model(normalize_reward=True, seed=0), make_model(normalize_reward=True, seed=1)
    first.learn(36)
    assert set(first.get_parameters()) == {"policy", "policy.optimizer", "reward_scale"}
    second.set_parameters(first.get_parameters())
    assert th.equal(parameters(second), parameters(first))
    assert th.equal(second.reward_scale.moments.variance, first.reward_scale.moments.variance)


def test_schedules(make_model):
    model = make_model(
        learning_rate=lambda left: 1e-3 * left, clip_range=lambda left: 0.4 * left, clip_range_vf=lambda left: left
    )
    logged = []
    train = model.train

    def train_and_look():
        train()
        logged.append(
            [model.logger.name_to_value[f"train/{key}"] for key in ("learning_rate", "clip_range", "clip_range_vf")]
        )

    model.train = train_and_look
    model.learn(72)
    np.testing.assert_allclose(logged, [[1e-3 * left, 0.4 * left, left] for left in (0.5, 0.0)])
    assert model.policy.optimizer.param_groups[0]["lr"] == 0.0


@pytest.mark.parametrize(("target_kl", "n_steps"), [(None, 4 * 3), (1e3, 4 * 3), (1e-6, 1)])
def test_target_kl_stops_an_update(make_model, monkeypatch, target_kl, n_steps):
    """At the first minibatch nothing has moved; at the second everything has moved too far, and no step is taken."""
    model = make_model(target_kl=target_kl, n_epochs=4, batch_size=12, learning_rate=1e-2)
    steps = []
    step = model.policy.optimizer.step
    monkeypatch.setattr(model.policy.optimizer, "step", lambda: steps.append(step()))
    model.learn(36)
    assert len(steps) == n_steps


class Recorder(BaseCallback):
    def __init__(self):
        super().__init__()
        self.events = []

    def _on_training_start(self):
        self.events.append("training start")

    def _on_rollout_start(self):
        self.events.append("rollout start")

    def _on_step(self):
        assert {"rewards", "dones", "infos", "actions", "new_obs"} <= set(self.locals)
        self.events.append("step")
        return True

    def _on_rollout_end(self):
        assert th.count_nonzero(self.model.rollout_buffer.returns) == 36
        self.events.append("rollout end")

    def _on_training_end(self):
        self.events.append("training end")


def test_callbacks_are_called_as_by_sb3(make_model):
    recorder = Recorder()
    make_model().learn(72, callback=recorder)
    rollout = ["rollout start", *["step"] * 12, "rollout end"]
    assert recorder.events == ["training start", *rollout, *rollout, "training end"]


def test_a_callback_can_stop_the_training(make_model):
    model = make_model()
    before = parameters(model)
    model.learn(72, callback=lambda local, _: local["n_steps"] < 4)
    assert model.num_timesteps == 15
    assert th.equal(parameters(model), before)


def test_evaluation_and_checkpoints(make_envs, make_model, tmp_path):
    evaluation = EvalCallback(make_envs(1), None, None, 2, 10, best_model_save_path=str(tmp_path / "best"), verbose=0)
    checkpoints = CheckpointCallback(12, str(tmp_path), name_prefix="agent")
    make_model(scrambled=False).learn(72, callback=[evaluation, checkpoints])
    assert np.isfinite(evaluation.last_mean_reward)
    assert HyperPPO.load(tmp_path / "best" / "best_model").num_timesteps in (30, 60)
    first, second = (HyperPPO.load(tmp_path / f"agent_{n}_steps") for n in (36, 72))
    assert (first.num_timesteps, second.num_timesteps) == (36, 72)
    assert not th.equal(parameters(first), parameters(second))


def logged_by(algorithm, env, tmp_path, **kwargs):
    """The rows of progress.csv."""
    policy = "SplAggerPolicy" if algorithm is HyperPPO else "MultiInputLstmPolicy"
    model = algorithm(policy, env, n_steps=40, batch_size=80, n_epochs=1, **kwargs)
    model.set_logger(configure(str(tmp_path / algorithm.__name__), ["csv"]))
    model.learn(320)
    model.logger.close()
    with open(tmp_path / algorithm.__name__ / "progress.csv") as file:
        return list(csv.DictReader(file))


def test_log_is_sb3s_and_the_return_of_every_episode(tmp_path):
    def make():
        return make_vec_env("TMazeLS-v0", 2, seed=0, env_kwargs={"n_episodes_per_trial": 2, "corridor_length": 4})

    rows = logged_by(HyperPPO, make(), tmp_path, stats_window_size=10_000)
    theirs = logged_by(RecurrentPPO, make(), tmp_path)
    assert set(rows[-1]) == set(theirs[-1]) | {"rollout/episode_1_return", "rollout/episode_2_return"}
    last = {key: float(value) for key, value in rows[-1].items()}
    assert all(np.isfinite(value) for value in last.values())
    assert last["time/total_timesteps"] == 320
    total = last["rollout/episode_1_return"] + last["rollout/episode_2_return"]
    assert total == pytest.approx(last["rollout/ep_rew_mean"], abs=1e-4)


def test_no_episode_no_return(make_model):
    model = make_model()
    model.learn(36)
    assert not any("episode_" in key for key in model.logger.name_to_value)


def test_episodes_that_some_trials_did_not_play(make_model):
    model = make_model()
    infos = [{"episode_returns": [1.0, 2.0]}, {}, {"episode_returns": [5.0]}]
    model.ep_info_buffer, model.ep_success_buffer = [], []
    model._update_info_buffer(infos, np.zeros(3, dtype=bool))
    recorded = {}
    model.logger.record = lambda key, value, **kwargs: recorded.update({key: value})
    model.logger.dump = lambda step: None
    model.start_time, model._num_timesteps_at_start = 0, 0
    model.dump_logs()
    assert (recorded["rollout/episode_1_return"], recorded["rollout/episode_2_return"]) == (3.0, 2.0)


def test_tensorboard(make_envs, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    settings = {"n_steps": 12, "batch_size": 36, "policy_kwargs": {"size": "XS", "encoder_dim": 8}}
    HyperPPO("RNNHNPolicy", make_envs(), tensorboard_log=str(tmp_path), **settings).learn(72)
    events = accumulator.EventAccumulator(str(tmp_path / "HyperPPO_1")).Reload()
    assert {"train/loss", "train/value_loss", "rollout/ep_rew_mean"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("train/loss")] == [72]


def test_verbose_run_prints_a_table(make_envs, capsys):
    settings = {"n_steps": 12, "batch_size": 36, "policy_kwargs": {"size": "XS", "encoder_dim": 8}}
    HyperPPO("RNNHNPolicy", make_envs(), verbose=1, target_kl=1e-9, **settings).learn(72)
    printed = capsys.readouterr().out
    assert "train/" in printed
    assert "Early stopping" in printed


def test_a_model_acts_in_fewer_environments_than_it_was_trained_in(tmp_path):
    kwargs = {"n_steps": 8, "batch_size": 32, "policy_kwargs": {"encoder_dim": 8}}
    model = HyperPPO("RNNPolicy", make_vec_env("CartPole-v1", 4), **kwargs)
    model.save(tmp_path / "model")
    loaded = HyperPPO.load(tmp_path / "model", env=make_vec_env("CartPole-v1", 1))
    assert loaded.predict(loaded.get_env().reset())[0].shape == (1,)
    with pytest.raises(ValueError, match="tile"):
        loaded.learn(8)


class Breaking(gym.Wrapper):
    """CartPole with a task that means nothing, and an end that comes suddenly."""

    def __init__(self, n_steps):
        super().__init__(gym.make("CartPole-v1"))
        self.n_steps_left = n_steps

    def reset(self, *, seed=None, options=None):
        observation, info = self.env.reset(seed=seed)
        return observation, {**info, "task": (options or {}).get("task", 7.0)}

    def step(self, action):
        self.n_steps_left -= 1
        if self.n_steps_left == 0:
            raise RuntimeError("out of bananas")
        return self.env.step(action)


def test_an_error_names_the_environment_and_its_task():
    env = DummyVecEnv([lambda: make_trials(Breaking(1000), 1), lambda: make_trials(Breaking(5), 1)])
    model = HyperPPO("RNNPolicy", env, n_steps=8, batch_size=16, policy_kwargs={"size": "XS", "encoder_dim": 8})
    with pytest.raises(RuntimeError, match=r"environment 1, .*task 7\.0: out of bananas"):
        model.learn(16)
