"""Evaluation during training: what is logged and kept, on which tasks, and that training does not notice."""

import json
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnRewardThreshold
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from sb3_hyper import HyperPPO, callbacks
from sb3_hyper.callbacks import EVALUATION_SEED, AdaptationEvalCallback
from sb3_hyper.envs import batched_vec_env
from sb3_hyper.evaluation import evaluate_tasks
from sb3_hyper.trial_play import PlayedTrial

ENV = "GridNavi-v0"
N_ENVS, N_STEPS, N_TASKS = 2, 60, 12


def make_env(folder=None):
    folder = None if folder is None else str(folder)
    return make_vec_env(ENV, N_ENVS, env_kwargs={"split": "train"}, vec_env_cls=batched_vec_env, monitor_dir=folder)


def make_model(env):
    kwargs = {"size": "XS", "encoder_dim": 16}
    settings = {"n_steps": N_STEPS, "batch_size": N_STEPS, "n_epochs": 1, "learning_rate": 0.02}
    return HyperPPO("RNNHNPolicy", env, policy_kwargs=kwargs, seed=0, device="cpu", **settings)


def train(model, callback, n_rollouts=4):
    return model.learn(n_rollouts * N_STEPS * N_ENVS, callback)


@pytest.fixture
def trained(tmp_path):
    """A model that was trained with four evaluations in its run's folder, the callback, and what was logged."""
    model = make_model(make_env(tmp_path))
    callback = AdaptationEvalCallback(n_eval_trials=N_TASKS, eval_freq=N_STEPS, verbose=0)
    model.set_logger(configure(str(tmp_path / "log"), ["json"]))
    train(model, callback)
    model.logger.close()
    model.get_env().close()
    lines = [json.loads(line) for line in (tmp_path / "log" / "progress.json").read_text().splitlines()]
    return model, callback, [line for line in lines if "eval/test_iqm" in line]


def test_what_is_logged_is_what_the_best_model_gets_on_held_out_tasks(trained, tmp_path):
    _, callback, lines = trained
    assert [line["time/total_timesteps"] for line in lines] == [120, 240, 360, 480]
    best = max(lines, key=lambda line: (line["eval/test_iqm"], line["eval/mean_reward"]))
    model = HyperPPO.load(tmp_path / "best_model", device="cpu")
    env = make_vec_env(ENV, 5, env_kwargs={"split": "test"}, vec_env_cls=batched_vec_env)
    twin = evaluate_tasks(model, env, N_TASKS, seed=EVALUATION_SEED)
    *episodes, trial = (estimate.value for estimate in twin.estimates["mean"])
    assert [best[f"eval/episode_{k}_return"] for k in range(1, 5)] == pytest.approx(episodes)
    assert best["eval/mean_reward"] == pytest.approx(trial) == pytest.approx(callback.best_mean_reward)
    assert best["eval/test_iqm"] == pytest.approx(twin.estimates["iqm"][-1].value) == pytest.approx(callback.best_iqm)
    assert best["eval/mean_ep_length"] == 60
    assert len({line["eval/mean_reward"] for line in lines}) > 1  # else another model would not show


def test_evaluations_are_kept_as_sb3_keeps_them(trained, tmp_path):
    _, _, lines = trained
    kept = np.load(tmp_path / "evaluations.npz")
    assert kept["timesteps"].tolist() == [120, 240, 360, 480]
    assert kept["results"].shape == kept["ep_lengths"].shape == (4, N_TASKS)
    assert kept["episode_returns"].shape == (4, N_TASKS, 4)
    np.testing.assert_allclose(kept["episode_returns"].sum(axis=2), kept["results"])
    np.testing.assert_allclose(kept["results"].mean(axis=1), [line["eval/mean_reward"] for line in lines])


def test_training_goes_on_as_without_it():
    callback = AdaptationEvalCallback(n_eval_trials=3, eval_freq=7, verbose=0, deterministic=False)
    models = [train(make_model(make_env()), one, n_rollouts=2) for one in (None, callback)]
    for a, b in zip(*(model.policy.parameters() for model in models), strict=True):
        assert th.equal(a, b)
    assert callback.last_iqm > -np.inf and callback.log_path is None and callback.best_model_save_path is None


def test_sb3s_callbacks_can_be_triggered(capsys):
    stop = StopTrainingOnRewardThreshold(-1000.0)
    model = train(make_model(make_env()), AdaptationEvalCallback(None, stop, n_eval_trials=3, eval_freq=10))
    assert model.num_timesteps == 10 * N_ENVS
    assert "Eval num_timesteps=20, 3 tasks: IQM" in capsys.readouterr().out
    after = EvalCounter()
    train(make_model(make_env()), AdaptationEvalCallback(None, None, after, n_eval_trials=2, eval_freq=60, verbose=0))
    assert after.n_calls == 4


class EvalCounter(callbacks.BaseCallback):
    def _on_step(self):
        return True


@pytest.mark.parametrize(
    ("returns", "n_best"),
    [
        # The second has the same middle half and a better mean, the third a better mean but a worse middle half.
        ([[0, 5, 5, 9], [4, 5, 5, 9], [4, 4, 5, 99]], 2),
        ([[0, 5, 5, 9], [0, 5, 5, 9], [9, 6, 6, 0]], 2),
    ],
)
def test_the_best_is_by_interquartile_mean_and_then_by_mean(monkeypatch, tmp_path, returns, n_best):
    evaluations = iter(returns)

    def play(*_):
        return [PlayedTrial(i, None, [float(value)], [1], None) for i, value in enumerate(next(evaluations))]

    monkeypatch.setattr(callbacks, "play_tasks", play)
    counter = EvalCounter()
    callback = AdaptationEvalCallback(None, counter, eval_freq=40, verbose=0, best_model_save_path=str(tmp_path))
    train(make_model(make_env()), callback, n_rollouts=2)
    assert counter.n_calls == n_best and (tmp_path / "best_model.zip").is_file()


def test_successes_are_logged(monkeypatch, tmp_path):
    trials = [PlayedTrial(i, None, [0.0, 1.0], [1, 1], [False, i > 0]) for i in range(4)]
    monkeypatch.setattr(callbacks, "play_tasks", lambda *_: trials)
    model = make_model(make_env())
    model.set_logger(configure(str(tmp_path), ["json"]))
    train(model, AdaptationEvalCallback(eval_freq=60, verbose=0, log_path=str(tmp_path)), n_rollouts=1)
    model.logger.close()
    line = json.loads((tmp_path / "progress.json").read_text().splitlines()[0])
    assert (line["eval/episode_1_success"], line["eval/episode_2_success"], line["eval/success_rate"]) == (
        0,
        0.75,
        0.75,
    )
    assert np.load(tmp_path / "evaluations.npz")["successes"].tolist() == [[False, True, True, True]]


def test_normalisation_is_that_of_training():
    env = VecNormalize(make_env(), norm_obs_keys=["observation"])
    model, shown = make_model(env), []

    class Spy(EvalCounter):
        def _on_step(self):
            shown.append((self.parent.eval_env.obs_rms["observation"].mean, env.obs_rms["observation"].mean))
            assert not self.parent.eval_env.training and not self.parent.eval_env.norm_reward
            return True

    train(model, AdaptationEvalCallback(None, None, Spy(), n_eval_trials=2, eval_freq=30, verbose=0), 1)
    assert len(shown) == 2 and all(np.array_equal(*means) for means in shown)
    assert not np.array_equal(shown[0][0], shown[1][0])


def test_an_environment_of_ones_own_for_any_algorithm(tmp_path):
    env = DummyVecEnv([lambda: gym.make("CartPole-v1")] * 2)
    callback = AdaptationEvalCallback(env, n_eval_trials=5, eval_freq=16, verbose=0, log_path=str(tmp_path))
    PPO("MlpPolicy", "CartPole-v1", n_steps=32, batch_size=32, device="cpu").learn(32, callback)
    assert np.load(tmp_path / "evaluations.npz")["episode_returns"].shape == (2, 5, 1)
    single = AdaptationEvalCallback(gym.make("CartPole-v1"), n_eval_trials=2, eval_freq=32, verbose=0)
    PPO("MlpPolicy", "CartPole-v1", n_steps=32, batch_size=32, device="cpu").learn(32, single)
    assert single.last_mean_reward > 0


def test_two_callbacks_that_write_the_same_files_are_noticed(tmp_path):
    folder = str(tmp_path)
    sb3s = EvalCallback(make_env(), best_model_save_path=folder, eval_freq=10_000)
    ours = AdaptationEvalCallback(n_eval_trials=2, best_model_save_path=folder, verbose=0)
    with pytest.warns(UserWarning, match=r"Another EvalCallback writes best_model.zip into .*--eval-freq -1"):
        train(make_model(make_env()), [ours, sb3s], 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(make_model(make_env()), [AdaptationEvalCallback(n_eval_trials=2, verbose=0), sb3s], 1)


def test_it_can_be_used_twice_and_switched_off():
    callback = AdaptationEvalCallback(n_eval_trials=2, eval_freq=60, verbose=0)
    for _ in range(2):
        train(make_model(make_env()), callback, 1)
        assert callback.eval_env is None
    off = AdaptationEvalCallback(eval_freq=-1)
    train(make_model(make_env()), off, 1)
    assert off.last_iqm == -np.inf


def test_bad_arguments():
    with pytest.raises(ValueError, match="n_eval_trials=0: wanted at least 1"):
        AdaptationEvalCallback(n_eval_trials=0)
    with pytest.raises(ValueError, match="Got eval_env and env_kwargs"):
        AdaptationEvalCallback(make_env(), env_kwargs={"split": "test"})
    with pytest.raises(ValueError, match="trained with the observation space"):
        train(make_model(make_env()), AdaptationEvalCallback(make_vec_env("TMazeLS-v0", 1)))
