"""
Meta-learning in an environment of your own: ten lines of Gymnasium whose task can be set, made into trials.

A bandit with five arms, one of which pays. In the first episode the arm has to be found; a memory that lasts for the
whole trial pulls it at once in the later ones.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env

from sb3_hyper import HyperPPO, make_trials
from sb3_hyper.evaluation import RandomBaseline, evaluate_adaptation

th.set_num_threads(1)


class Bandit(gym.Env[np.ndarray, int]):
    observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(5)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        # The task that is asked for, or a new one; info says which it is.
        self.good_arm = (options or {}).get("task", int(self.np_random.integers(5)))
        self.n_pulls = 0
        return np.zeros(1, np.float32), {"task": self.good_arm}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.n_pulls += 1
        return np.zeros(1, np.float32), float(action == self.good_arm), self.n_pulls == 5, False, {}


# Three episodes on one task are a trial, which Stable-Baselines3 sees as one episode of 15 steps.
env = make_vec_env(lambda: make_trials(Bandit(), n_episodes_per_trial=3), n_envs=16, seed=0)

model = HyperPPO(
    "RNNHNPolicy",
    env,
    learning_rate=3e-3,
    n_steps=60,
    batch_size=4 * 60,
    n_epochs=4,
    ent_coef=0.01,
    policy_kwargs={"size": "XS", "encoder_dim": 64},
    seed=0,
    device="cpu",
)
model.learn(48_000)

print("Whoever tries one arm after the other gets 3, 5 and 5.\n")
print(evaluate_adaptation(RandomBaseline(env.action_space, seed=0), env, seed=1).table(), "\n")
print(evaluate_adaptation(model, env, seed=1).table())
