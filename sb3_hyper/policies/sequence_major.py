"""sb3-contrib's recurrent dialect, flat and sequence after sequence, spoken by a policy that thinks time-major."""

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import torch as th
from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.type_aliases import PyTorchObs

from sb3_hyper.policies.agent import Agent, BaseInput
from sb3_hyper.policies.answers import Evaluation
from sb3_hyper.policies.features import Observation
from sb3_hyper.policies.recurrent_state import pack_memory, to_sequence_major, to_time_major, unpack_memory


class SequenceMajorPolicy(RecurrentActorCriticPolicy):
    """
    What sb3-contrib's RecurrentPPO and SB3's ``predict`` call, in terms of a subclass's time-major methods.

    :param args: the parent's
    :param kwargs: the parent's
    """

    agent: Agent
    memory_dim: int

    @abstractmethod
    def act(
        self,
        obs: Observation,
        memory: th.Tensor,
        episode_starts: th.Tensor,
        deterministic: bool = False,
        noise: th.Tensor | None = None,
    ) -> tuple[th.Tensor, th.Tensor, th.Tensor, th.Tensor]:
        """One step of B environments: actions, values, log-probabilities, the next memory."""

    @abstractmethod
    def evaluate_sequences(
        self,
        obs: Observation,
        actions: th.Tensor,
        memory: th.Tensor,
        resets: th.Tensor,
        noise: th.Tensor | None = None,
    ) -> Evaluation:
        """Evaluate actions along sequences, time-major."""

    @abstractmethod
    def evaluate_values(
        self, obs: Observation, memory: th.Tensor, resets: th.Tensor, noise: th.Tensor | None = None
    ) -> th.Tensor:
        """The critic along sequences, time-major."""

    @abstractmethod
    def _distribution(self, actor_input: BaseInput) -> Distribution:
        """The distribution of actions."""

    def obs_to_tensor(self, observation: npt.NDArray[Any] | dict[str, npt.NDArray[Any]]) -> tuple[PyTorchObs, bool]:
        """
        SB3's preparation of what ``predict`` is given; a task that the policy was not built for is left out.

        :param observation: one observation, or several
        :return: tensors, and whether there were several
        """
        if isinstance(observation, dict) and isinstance(self.observation_space, spaces.Dict):
            unseen = {"task"} - self.observation_space.keys()
            observation = {key: value for key, value in observation.items() if key not in unseen}
        return super().obs_to_tensor(observation)

    def forward(  # type: ignore[override]
        self, obs: Observation, lstm_states: RNNStates, episode_starts: th.Tensor, deterministic: bool = False
    ) -> tuple[th.Tensor, th.Tensor, th.Tensor, RNNStates]:
        """
        One step of B environments, as sb3-contrib's RecurrentPPO collects it.

        :param obs: B observations
        :param lstm_states: packed memory
        :param episode_starts: ``(B,)`` 1 where a trial starts
        :param deterministic: whether to take the likeliest actions
        :return: actions, values ``(B, 1)``, log-probabilities, the next packed memory
        """
        memory = unpack_memory(lstm_states.pi, self.memory_dim)
        actions, values, log_prob, memory = self.act(obs, memory, episode_starts > 0, deterministic)
        return actions, values[:, None], log_prob, pack_memory(memory, self.lstm_actor)  # type: ignore[arg-type]

    def get_distribution(  # type: ignore[override]
        self, obs: Observation, lstm_states: tuple[th.Tensor, ...], episode_starts: th.Tensor
    ) -> tuple[Distribution, tuple[th.Tensor, ...]]:
        """The action distribution for B observations, and the next packed memory; arguments as in :meth:`forward`."""
        memory = unpack_memory(lstm_states, self.memory_dim)
        encoded = self.agent.encode(obs, memory, episode_starts[None] > 0)
        return self._distribution(encoded.actor), pack_memory(encoded.memory, self.lstm_actor).pi  # type: ignore[arg-type]

    def predict_values(  # type: ignore[override]
        self, obs: Observation, lstm_states: tuple[th.Tensor, ...], episode_starts: th.Tensor
    ) -> th.Tensor:
        """The critic's values ``(B, 1)`` for B observations; arguments as in :meth:`forward`."""
        memory = unpack_memory(lstm_states, self.memory_dim)
        return self.evaluate_values(obs, memory, episode_starts[None] > 0)[:, None]

    def evaluate_actions(  # type: ignore[override]
        self, obs: Observation, actions: th.Tensor, lstm_states: RNNStates, episode_starts: th.Tensor
    ) -> tuple[th.Tensor, th.Tensor, th.Tensor | None]:
        """
        Evaluate actions along sequences, as sb3-contrib's RecurrentPPO asks for it.

        :param obs: B * T observations, sequence after sequence
        :param actions: ``(B * T, *action shape)``
        :param lstm_states: packed memory before each sequence
        :param episode_starts: ``(B * T,)`` 1 where a trial starts
        :return: values ``(B * T, 1)``, log-probabilities and entropies ``(B * T,)``
        """
        if self.agent.detach_latent and th.is_grad_enabled():
            warnings.warn(
                f"{type(self).__name__}: the losses of actor and critic stop at the latent (detach_latent=True), and "
                "sb3-contrib's RecurrentPPO has no auxiliary objective that would train the encoder: it stays as it "
                "is. Use HyperPPO, or policy_kwargs=dict(detach_latent=False).",
                stacklevel=2,
            )
        memory = unpack_memory(lstm_states.pi, self.memory_dim)
        n_sequences = len(memory)

        def reorder(x: th.Tensor) -> th.Tensor:
            return to_time_major(x, n_sequences).flatten(0, 1)

        resets = to_time_major(episode_starts, n_sequences) > 0
        time_major = {key: reorder(x) for key, x in obs.items()} if isinstance(obs, Mapping) else reorder(obs)
        values, log_prob, entropy, *_ = self.evaluate_sequences(time_major, reorder(actions), memory, resets)
        if entropy is not None:
            entropy = to_sequence_major(entropy, n_sequences)
        return to_sequence_major(values, n_sequences)[:, None], to_sequence_major(log_prob, n_sequences), entropy
