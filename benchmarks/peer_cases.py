"""The peers of peers.py by name, each with its own trials; "bare" base networks see the state itself."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch as th
from gymnasium import spaces
from peer_papers import PapersAgent, materialise
from peer_ppo import Agent, PlainPPO, PPOSettings, Train
from peer_single_file import RecurrentAgent, SingleFileGRU, SingleFileLSTM
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.callbacks import BaseCallback
from throughput import ConcatenatedKeys, FusedLstmPolicy

from sb3_hyper import HyperPPO
from sb3_hyper.envs import TMazeLS, TrialVecEnv
from sb3_hyper.policies.sizes import SIZES

Make = Callable[[argparse.Namespace], Train]
MakeAgent = Callable[[Mapping[str, int], int, argparse.Namespace], Agent]


class AfterCollection(BaseCallback):
    """Calls when the rollout is complete."""

    def __init__(self, call: Callable[[], None]) -> None:
        super().__init__()
        self.call = call

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.call()


def ppo_settings(options: argparse.Namespace) -> PPOSettings:
    return PPOSettings(n_steps=options.steps, batch_size=options.steps * options.envs // 4)


def sb3_training(model: RecurrentPPO) -> Train:
    def train(after_collection: Callable[[], None]) -> None:
        model.learn(model.n_steps * model.n_envs, AfterCollection(after_collection), reset_num_timesteps=False)

    return train


def recurrent_ppo(policy: str | type[RecurrentActorCriticPolicy]) -> Make:
    def make(options: argparse.Namespace) -> Train:
        policy_kwargs = {
            "shared_lstm": True,
            "enable_critic_lstm": False,
            "lstm_hidden_size": options.width,
            "net_arch": list(SIZES[options.size].pi),
        }
        venv, settings = ConcatenatedKeys(TrialVecEnv(TMazeLS(), options.envs)), ppo_settings(options)._asdict()
        return sb3_training(
            RecurrentPPO(policy, venv, policy_kwargs=policy_kwargs, seed=0, device=options.device, **settings)
        )

    return make


def hyper_ppo(policy: str, change: Callable[[HyperPPO], HyperPPO] = lambda model: model, **policy_kwargs: Any) -> Make:
    def make(options: argparse.Namespace) -> Train:
        kwargs = {"size": options.size, "encoder_dim": options.width, **policy_kwargs}
        venv, settings = TrialVecEnv(TMazeLS(), options.envs), ppo_settings(options)._asdict()
        model = HyperPPO(
            policy, venv, value_loss="mse", policy_kwargs=kwargs, seed=0, device=options.device, **settings
        )
        return sb3_training(change(model))

    return make


def plain_ppo(make_agent: MakeAgent) -> Make:
    def make(options: argparse.Namespace) -> Train:
        th.manual_seed(0)
        trials = TrialVecEnv(TMazeLS(), options.envs)
        space = cast(spaces.Dict, trials.observation_space)
        # In the order of ConcatenatedKeys.
        obs_widths = {key: spaces.flatdim(space[key]) for key in sorted(space)}
        agent = make_agent(obs_widths, spaces.flatdim(trials.action_space), options)
        return PlainPPO(agent, ConcatenatedKeys(trials), ppo_settings(options), options.device).train

    return make


def recurrent_agent(kind: Callable[[], type[RecurrentAgent]]) -> MakeAgent:
    def make(obs_widths: Mapping[str, int], n_actions: int, options: argparse.Namespace) -> Agent:
        return kind()(sum(obs_widths.values()), n_actions, options.width, SIZES[options.size].pi)

    return make


def torchrl_agent(name: str) -> MakeAgent:
    def kind() -> type[RecurrentAgent]:
        import peer_torchrl

        return cast(type[RecurrentAgent], getattr(peer_torchrl, name))

    return recurrent_agent(kind)


def papers_agent(aggregate: bool, is_bare: bool) -> MakeAgent:
    def make(obs_widths: Mapping[str, int], n_actions: int, options: argparse.Namespace) -> Agent:
        sizes = SIZES[options.size]
        state_dim = 0 if is_bare else sizes.state_dim
        return PapersAgent(obs_widths, n_actions, options.width, sizes.pi, state_dim, aggregate)

    return make


class Peer(NamedTuple):
    """A row of the table."""

    label: str
    make: Make


PEERS = {
    "stock": Peer("RecurrentPPO, MlpLstmPolicy", recurrent_ppo("MlpLstmPolicy")),
    "fused": Peer("RecurrentPPO, fused pass", recurrent_ppo(FusedLstmPolicy)),
    "torchrl-lstm": Peer("TorchRL, LSTMModule", plain_ppo(torchrl_agent("TorchRLLSTM"))),
    "torchrl-gru": Peer("TorchRL, GRUModule", plain_ppo(torchrl_agent("TorchRLGRU"))),
    "single-file-lstm": Peer("single file, LSTM", plain_ppo(recurrent_agent(lambda: SingleFileLSTM))),
    "single-file-gru": Peer("single file, GRU", plain_ppo(recurrent_agent(lambda: SingleFileGRU))),
    "papers-rnnhn-bare": Peer("papers' way, RNN+HN, bare", plain_ppo(papers_agent(aggregate=False, is_bare=True))),
    "papers-splagger-bare": Peer("papers' way, SplAgger, bare", plain_ppo(papers_agent(aggregate=True, is_bare=True))),
    "papers-splagger": Peer("papers' way, SplAgger", plain_ppo(papers_agent(aggregate=True, is_bare=False))),
    "materialised-bare": Peer(
        "HyperPPO, SplAggerPolicy, bare, papers' hypernetwork", hyper_ppo("SplAggerPolicy", materialise, state_dim=0)
    ),
    "materialised": Peer("HyperPPO, SplAggerPolicy, papers' hypernetwork", hyper_ppo("SplAggerPolicy", materialise)),
    "rnn": Peer("HyperPPO, RNNPolicy", hyper_ppo("RNNPolicy")),
    "rnnhn-bare": Peer("HyperPPO, RNNHNPolicy, bare", hyper_ppo("RNNHNPolicy", state_dim=0)),
    "splagger-bare": Peer("HyperPPO, SplAggerPolicy, bare", hyper_ppo("SplAggerPolicy", state_dim=0)),
    "splagger": Peer("HyperPPO, SplAggerPolicy", hyper_ppo("SplAggerPolicy")),
}
