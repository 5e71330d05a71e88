"""
Train SplAgger on a T-maze and watch it remember: the cue is shown once, the choice comes at the corridor's end.

Ten seconds on one core. The registered TMazeLS-v0 has a corridor of 100 cells, which takes minutes instead:
``python -m rl_zoo3.train --algo hyper_ppo --env TMazeLS-v0``.
"""

import torch as th
from stable_baselines3.common.env_util import make_vec_env

from sb3_hyper import HyperPPO
from sb3_hyper.envs import batched_vec_env
from sb3_hyper.evaluation import evaluate_adaptation

th.set_num_threads(1)

# A trial is four episodes in one maze. `batched_vec_env` steps all trials at once; DummyVecEnv does the same, slower.
corridor = {"corridor_length": 20}
env = make_vec_env("TMazeLS-v0", n_envs=16, seed=0, env_kwargs=corridor, vec_env_cls=batched_vec_env)

# A rollout of 160 steps holds two whole trials of every environment; a minibatch is the rollouts of four of them.
model = HyperPPO(
    "SplAggerPolicy",
    env,
    learning_rate=5e-4,
    n_steps=160,
    batch_size=4 * 160,
    n_epochs=2,
    clip_range=0.1,
    ent_coef=0.01,
    policy_kwargs={"size": "XS", "encoder_dim": 64},
    seed=0,
    device="cpu",
)

test_env = make_vec_env("TMazeLS-v0", n_envs=100, env_kwargs=corridor, vec_env_cls=batched_vec_env)
print("Return per trial: 2 by chance, 16 with a memory of the cue.\n")
for _ in range(3):
    model.learn(12_800, reset_num_timesteps=False)
    trial = evaluate_adaptation(model, test_env, n_trials=200, seed=1).trial
    print(f"after {model.num_timesteps:6d} steps: {trial.mean:5.2f} [{trial.low:.2f}, {trial.high:.2f}]", flush=True)

print(f"\n{evaluate_adaptation(model, test_env, n_trials=200, seed=2).table()}")
