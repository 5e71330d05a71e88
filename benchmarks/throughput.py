"""
Frames per second of training on T-LS trials: HyperPPO against sb3-contrib's RecurrentPPO with an equally wide LSTM.

    python benchmarks/throughput.py --repetitions 5 --threads 1

All agents play trials in the same native vectorised environment, RecurrentPPO with the observation's keys concatenated.
A frame costs its share of the collection and of the update: 16 environments x 700 steps, minibatches of 2800, 2 epochs.
One more competitor is RecurrentPPO with a repaired sequence pass: it resets memories where RecurrentPPO does, but steps
through time in Python only there.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from measuring import describe_machine, interleaved, median_and_spread, print_table, synchronize
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch import nn

from sb3_hyper import HyperPPO
from sb3_hyper.envs import TMazeLS, TrialVecEnv

LSTMStates = tuple[th.Tensor, th.Tensor]


class ConcatenatedKeys(VecEnvWrapper):
    """The keys of a trial's observation side by side in one vector, for policies that take boxes."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv, spaces.Box(-np.inf, np.inf, (spaces.flatdim(venv.observation_space),), np.float32))

    def reset(self) -> np.ndarray:
        return self._concatenate(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = self._concatenate(info["terminal_observation"])
        return self._concatenate(observations), rewards, dones, infos

    def _concatenate(self, observations: Any) -> np.ndarray:
        return np.concatenate([observations[key] for key in sorted(observations)], axis=-1)


class FusedLstmPolicy(RecurrentActorCriticPolicy):
    """sb3-contrib's policy with one call of the LSTM for each stretch of time in which no memory is reset."""

    @staticmethod
    def _process_sequence(  # type: ignore[override]
        features: th.Tensor, lstm_states: LSTMStates, episode_starts: th.Tensor, lstm: nn.LSTM
    ) -> tuple[th.Tensor, LSTMStates]:
        n_sequences = lstm_states[0].shape[1]
        # (B * T, D) -> (T, B, D)
        x = features.reshape((n_sequences, -1, lstm.input_size)).swapaxes(0, 1)
        starts = episode_starts.reshape((n_sequences, -1)).swapaxes(0, 1)
        cuts = [0, *((starts[1:] > 0).any(dim=1).nonzero().flatten() + 1).tolist(), len(x)]
        outputs = []
        for begin, end in pairwise(cuts):
            keep = (1.0 - starts[begin]).view(1, n_sequences, 1)
            output, lstm_states = lstm(x[begin:end], (keep * lstm_states[0], keep * lstm_states[1]))
            outputs.append(output)
        return th.cat(outputs).transpose(0, 1).flatten(0, 1), lstm_states


def check_fused_pass() -> None:
    """The repaired pass computes what the original does."""
    lstm, n_sequences, n_steps = nn.LSTM(3, 5), 4, 30
    features, starts = th.randn(n_sequences * n_steps, 3), (th.rand(n_sequences * n_steps) < 0.1).float()
    states = (th.randn(1, n_sequences, 5), th.randn(1, n_sequences, 5))
    passes = [
        policy._process_sequence(features, states, starts, lstm)
        for policy in (FusedLstmPolicy, RecurrentActorCriticPolicy)
    ]
    th.testing.assert_close(*passes)


class CollectionTime(BaseCallback):
    """Notes when the rollout is complete."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.ended = 0.0

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        synchronize(self.device)
        self.ended = time.perf_counter()


def make_models(options: argparse.Namespace) -> dict[str, RecurrentPPO]:
    """The competitors, each with its own environments."""
    settings: dict[str, Any] = {
        "n_steps": options.steps,
        "batch_size": options.steps * options.envs // 4,
        "n_epochs": 2,
        "learning_rate": 1e-3,
        "clip_range": 0.1,
        "ent_coef": 0.01,
        "seed": 0,
        "device": options.device,
    }
    # Size "S" has base layers of 64 and 64 behind an embedding of the state of 128; "bare" reads the state itself.
    ours = {"size": "S", "encoder_dim": options.width}
    bare = {**ours, "state_dim": 0}
    lstm = {"shared_lstm": True, "enable_critic_lstm": False, "lstm_hidden_size": options.width, "net_arch": [64, 64]}

    def trials() -> TrialVecEnv:
        return TrialVecEnv(TMazeLS(), options.envs)

    stock = RecurrentPPO("MlpLstmPolicy", ConcatenatedKeys(trials()), policy_kwargs=lstm, **settings)
    fused = RecurrentPPO(FusedLstmPolicy, ConcatenatedKeys(trials()), policy_kwargs=lstm, **settings)
    return {
        "RecurrentPPO, MlpLstmPolicy": stock,
        "RecurrentPPO, fused pass": fused,
        "HyperPPO, RNNPolicy": HyperPPO("RNNPolicy", trials(), policy_kwargs=ours, **settings),
        "HyperPPO, SplAggerPolicy": HyperPPO("SplAggerPolicy", trials(), policy_kwargs=ours, **settings),
        "HyperPPO, SplAggerPolicy, bare": HyperPPO("SplAggerPolicy", trials(), policy_kwargs=bare, **settings),
    }


def timed_update(model: RecurrentPPO, device: str, collection: list[float]) -> Callable[[], float]:
    """Collect one rollout and train on it; returns seconds, and notes those of the collection."""

    def run() -> float:
        callback = CollectionTime(device)
        start = time.perf_counter()
        model.learn(model.n_steps * model.n_envs, callback, reset_num_timesteps=False)
        synchronize(device)
        collection.append(callback.ended - start)
        return time.perf_counter() - start

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description="Training throughput on T-LS trials")
    parser.add_argument("--steps", type=int, default=700, help="steps of a rollout")
    parser.add_argument("--envs", type=int, default=16, help="environments; a multiple of 4")
    parser.add_argument("--width", type=int, default=256, help="width of the recurrent layer")
    parser.add_argument("--repetitions", type=int, default=5, help="measured rollouts of each")
    parser.add_argument("--threads", type=int, default=1, help="threads for PyTorch")
    parser.add_argument("--device", default="cpu", help="PyTorch device")
    options = parser.parse_args()
    th.set_num_threads(options.threads)
    check_fused_pass()
    models = make_models(options)
    collections: dict[str, list[float]] = {name: [] for name in models}
    seconds = interleaved(
        {name: timed_update(model, options.device, collections[name]) for name, model in models.items()},
        options.repetitions,
    )
    frames = options.steps * options.envs
    rates = {name: [frames / s for s in measured] for name, measured in seconds.items()}
    stock = statistics.median(rates["RecurrentPPO, MlpLstmPolicy"])
    print(describe_machine(options.device))
    print(f"{options.envs} environments x {options.steps} steps, width {options.width}, {options.repetitions} rounds\n")
    rows = []
    for name in models:
        collected = statistics.median(collections[name][1:])
        trained = statistics.median(seconds[name]) - collected
        ratio = statistics.median(rates[name]) / stock
        rows.append([name, median_and_spread(rates[name], ".0f"), f"{ratio:.2f}", f"{collected:.2f}", f"{trained:.2f}"])
    print_table(["", "frames/s (smallest to largest)", "ratio", "collect [s]", "update [s]"], rows)


if __name__ == "__main__":
    main()
