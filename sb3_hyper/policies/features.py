"""Features: what the encoder sees of a transition and what the base network sees of a state."""

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space, preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from torch import nn

from sb3_hyper.hypernetworks.distinct_rows import DistinctRows, find_distinct_rows
from sb3_hyper.normalization import RunningNormalization
from sb3_hyper.task_inference import unit_scale

Observation = th.Tensor | Mapping[str, th.Tensor]
"""A plain observation, or one with a key for each of its parts."""

TRIAL_KEYS = ("observation", "previous_action", "previous_reward", "new_episode")
"""The keys by which a Dict observation is recognised as a trial's; ``previous_observation`` may join."""


EncoderInput = Literal["transition", "task"]

ENCODER_INPUTS: tuple[EncoderInput, ...] = get_args(EncoderInput)
"""What the encoder reads: the trial's transitions, or the task itself."""


def is_trial_space(space: spaces.Space) -> bool:  # type: ignore[type-arg]
    """Whether an observation space is a trial's, as RL2Observation makes it; ValueError if it only half is."""
    if not isinstance(space, spaces.Dict) or not all(key in space.spaces for key in TRIAL_KEYS):
        return False
    for key in TRIAL_KEYS[1:]:
        if not isinstance(space[key], spaces.Box):
            raise ValueError(
                f"A trial's {key!r} must be a Box of numbers, got {space[key]}. Let sb3_hyper.envs.RL2Observation make "
                "the observation, or give that key another name if it means something else."
            )
    return True


def state_space_of(space: spaces.Space) -> spaces.Space:  # type: ignore[type-arg]
    """The space of the state alone: a trial's ``observation``, or the whole of a plain observation."""
    return space["observation"] if isinstance(space, spaces.Dict) and is_trial_space(space) else space


def episode_begins(obs: Mapping[str, th.Tensor], shape: th.Size) -> th.Tensor:
    """Where an episode starts that is not the trial's first: a trial's T * B observations -> ``shape`` (T, B), bool."""
    # Stacked frames hold the flags of earlier steps too, the latest one last.
    return obs["new_episode"].flatten(1)[:, -1].view(shape) > 0


def _embedding(n_inputs: int, n_outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_inputs, n_outputs), nn.ReLU())


class TransitionFeatures(nn.Module):
    """
    Linear + ReLU embeddings of a transition's parts, side by side (Beck et al. 2024, appendix).

    The new_episode flag goes in with the state. A plain observation has a state and nothing else.

    :param space: the observation space
    :param state_dim: width of the state's features
    :param state_embedding_dim: width of the embedding of the state, and of that of the previous state
    :param action_embedding_dim: width of the embedding of the previous action
    :param reward_embedding_dim: width of the embedding of the previous reward
    """

    def __init__(
        self,
        space: spaces.Space,  # type: ignore[type-arg]
        state_dim: int,
        state_embedding_dim: int,
        action_embedding_dim: int,
        reward_embedding_dim: int,
    ) -> None:
        super().__init__()
        self.is_trial = is_trial_space(space)
        self.has_previous_state = False
        flag_dim = 0
        widths = [state_embedding_dim]
        if isinstance(space, spaces.Dict) and self.is_trial:
            flag_dim = spaces.flatdim(space["new_episode"])
            widths += [action_embedding_dim, reward_embedding_dim]
            self.embed_action = _embedding(spaces.flatdim(space["previous_action"]), action_embedding_dim)
            self.embed_reward = _embedding(spaces.flatdim(space["previous_reward"]), reward_embedding_dim)
            if "previous_observation" in space.spaces:
                self.has_previous_state = True
                widths.append(state_embedding_dim)
                self.embed_previous_state = _embedding(state_dim, state_embedding_dim)
        self.embed_state = _embedding(state_dim + flag_dim, state_embedding_dim)
        self.output_dim = sum(widths)

    def gather(self, obs: Observation, state: th.Tensor, previous_state: th.Tensor | None) -> th.Tensor:
        """
        The inputs of all embeddings side by side.

        :param obs: the observation they come from, leading axis N
        :param state: ``(N, state_dim)`` features of the state
        :param previous_state: ``(N, state_dim)`` features of the previous state, where the observation has it
        :return: ``(N, …)``
        """
        if not self.is_trial or isinstance(obs, th.Tensor):
            return state
        parts = [state, *(obs[key].flatten(1) for key in ("new_episode", "previous_action", "previous_reward"))]
        if previous_state is not None:
            parts.append(previous_state)
        return th.cat(parts, dim=-1)

    def packed_parameters(self) -> tuple[th.Tensor, th.Tensor]:
        """All embeddings as one linear layer: a block-diagonal weight ``(output_dim, …)`` and its bias."""
        embeddings = [self.embed_state]
        if self.is_trial:
            embeddings += [self.embed_action, self.embed_reward]
        if self.has_previous_state:
            embeddings.append(self.embed_previous_state)
        weights, biases = zip(*((linear.weight, linear.bias) for linear, _ in embeddings), strict=True)
        weight: th.Tensor = th.block_diag(*weights)  # type: ignore[no-untyped-call]
        return weight, th.cat(biases)

    def forward(self, inputs: th.Tensor) -> th.Tensor:
        """
        Embed N transitions, all parts in one matrix product.

        :param inputs: ``(N, …)`` from :meth:`gather`
        :return: ``(N, output_dim)``
        """
        return nn.functional.linear(inputs, *self.packed_parameters()).relu()


class TaskFeatures(nn.Module):
    """
    Linear + ReLU embedding of the task alone, in the place of :class:`TransitionFeatures`; bounded entries are brought
    to [-1, 1].

    :param space: the observation space
    :param state_dim: width of the state's features, which the embedding does not read
    :param embedding_dim: width of the embedding
    :raises ValueError: when the observations do not show the task
    """

    is_trial = True
    has_previous_state = False
    scale: th.Tensor
    center: th.Tensor

    def __init__(self, space: spaces.Space, state_dim: int, embedding_dim: int) -> None:  # type: ignore[type-arg]
        super().__init__()
        box = space.spaces.get("task") if isinstance(space, spaces.Dict) and is_trial_space(space) else None
        if not isinstance(box, spaces.Box):
            raise ValueError(
                f"encoder_input='task' reads the task, but the observations are {space}, without a key 'task'. Build "
                "the environment with expose_task=True, for example gymnasium.make('GridNavi-v0', expose_task=True), "
                "or choose a policy that finds the task out, for example RNNHNPolicy."
            )
        self.state_dim = state_dim
        self.output_dim = embedding_dim
        self.embed_task = nn.Linear(box.shape[-1], embedding_dim)
        center, scale = unit_scale(box)
        self.register_buffer("center", center, persistent=False)
        self.register_buffer("scale", scale, persistent=False)

    def gather(self, obs: Observation, state: th.Tensor, previous_state: th.Tensor | None) -> th.Tensor:
        """State and task side by side: ``(N, state_dim + task_dim)``; the other arguments are not read."""
        if not isinstance(obs, Mapping) or "task" not in obs:
            raise ValueError(
                "A policy that is told the task got an observation without the key 'task'. Build the environment with "
                "expose_task=True, as in training."
            )
        return th.cat((state, obs["task"].flatten(1)), dim=-1)

    def packed_parameters(self) -> tuple[th.Tensor, th.Tensor]:
        """One linear layer of state and task, in which the state counts nothing."""
        weight = self.embed_task.weight * self.scale
        return nn.functional.pad(weight, (self.state_dim, 0)), self.embed_task.bias - weight @ self.center

    def forward(self, inputs: th.Tensor) -> th.Tensor:
        """``(N, state_dim + task_dim) -> (N, output_dim)``, inputs from :meth:`gather`."""
        return nn.functional.linear(inputs, *self.packed_parameters()).relu()


class Features(nn.Module):
    """
    Routes an observation: state features to the base network, transition features to the encoder.

    :param space: the observation space
    :param extractor: features extractor of the state
    :param normalize_states: whether a flat state is normalised by running moments (see :meth:`update_normalization`)
    :param normalize_images: whether images are divided by 255
    :param state_dim: width of the base network's state embedding; 0: it sees the state itself
    :param transition_dims: widths of the encoder's embeddings of state, action and reward
    :param encoder_input: what the encoder reads, "transition" or "task"
    """

    def __init__(
        self,
        space: spaces.Space,  # type: ignore[type-arg]
        extractor: BaseFeaturesExtractor,
        normalize_states: bool,
        normalize_images: bool,
        state_dim: int,
        transition_dims: tuple[int, int, int],
        encoder_input: EncoderInput = "transition",
    ) -> None:
        super().__init__()
        self.state_space = state_space_of(space)
        self.is_trial = is_trial_space(space)
        self.normalize_images = normalize_images
        self.extractor = extractor
        width = extractor.features_dim
        is_flat = isinstance(self.state_space, spaces.Box) and isinstance(extractor, FlattenExtractor)
        self._is_vector = is_flat and type(extractor) is FlattenExtractor and not is_image_space(self.state_space)
        self.normalization = RunningNormalization((width,)) if normalize_states and is_flat else None
        self.transition: TransitionFeatures | TaskFeatures
        if encoder_input == "task":
            self.transition = TaskFeatures(space, width, transition_dims[0])
        else:
            self.transition = TransitionFeatures(space, width, *transition_dims)
        self.embed_state = _embedding(width, state_dim) if state_dim else nn.Identity()
        self.state_dim = state_dim or width

    def forward(self, obs: Observation) -> tuple[DistinctRows, th.Tensor]:
        """
        Features of N observations.

        :param obs: observation with leading axis N
        :return: state features ``(N, state_dim)``, and transition features ``(N, transition.output_dim)``
        """
        state = self.normalized_state(obs)
        # Beyond half the embedding's width the base networks gain too little by it.
        rows, indices = find_distinct_rows(state, self.state_dim // 2)
        return DistinctRows(self.embed_state(rows), indices), self._transitions(obs, state)

    def transitions(self, obs: Observation) -> th.Tensor:
        """Transition features alone: N observations -> ``(N, transition.output_dim)``."""
        return self._transitions(obs, self.normalized_state(obs))

    def _transitions(self, obs: Observation, state: th.Tensor) -> th.Tensor:
        previous = self._previous_state_of(obs)
        inputs = self.transition.gather(obs, state, None if previous is None else self._normalized(previous))
        features: th.Tensor = self.transition(inputs)
        return features

    def make_step(self) -> Callable[[Observation], tuple[th.Tensor, th.Tensor]]:
        """:meth:`forward` for acting, all rows and without gradient; good until the weights change."""
        weight, bias = (parameter.detach() for parameter in self.transition.packed_parameters())
        weight_t, width = weight.t().contiguous(), self.extractor.features_dim
        normalize, embed_state = self._make_inputs_normalization(weight.shape[1]), self.embed_state

        def step(obs: Observation) -> tuple[th.Tensor, th.Tensor]:
            inputs = normalize(self.transition.gather(obs, self._state_of(obs), self._previous_state_of(obs)))
            return embed_state(inputs[:, :width]), th.addmm(bias, inputs, weight_t).relu_()

        return step

    def _make_inputs_normalization(self, n_inputs: int) -> Callable[[th.Tensor], th.Tensor]:
        """The normalisation of the states among an encoder's inputs: they stand first and, where it is there, last."""
        if self.normalization is None:
            return nn.Identity()
        width, like = self.extractor.features_dim, self.normalization.scale
        scale, offset, bound = like.new_ones(n_inputs), like.new_zeros(n_inputs), like.new_full((n_inputs,), th.inf)
        for start in [0, n_inputs - width] if self.transition.has_previous_state else [0]:
            scale[start : start + width] = self.normalization.scale
            offset[start : start + width] = self.normalization.offset
            bound[start : start + width] = self.normalization.bound
        low = -bound
        return lambda inputs: th.addcmul(offset, inputs, scale).clamp(low, bound)

    def update_normalization(self, obs: Observation) -> None:
        """Take observations ``(N, …)`` into the running moments; nothing to do where states are not normalised."""
        if self.normalization is not None:
            with th.no_grad():
                self.normalization.update(self._state_of(obs))

    def normalized_state(self, obs: Observation) -> th.Tensor:
        """The state's features, normalised but not embedded: N observations -> ``(N, …)``."""
        return self._normalized(self._state_of(obs))

    def _state_of(self, obs: Observation) -> th.Tensor:
        return self._extract(obs["observation"] if self.is_trial and isinstance(obs, Mapping) else obs)

    def _previous_state_of(self, obs: Observation) -> th.Tensor | None:
        if self.transition.has_previous_state and isinstance(obs, Mapping):
            return self._extract(obs["previous_observation"])
        return None

    def _extract(self, state: Observation) -> th.Tensor:
        if self._is_vector and isinstance(state, th.Tensor):
            # What SB3's preprocessing and its FlattenExtractor do, without their questions.
            return state.float().flatten(1)
        features: th.Tensor = self.extractor(
            preprocess_obs(state, self.state_space, normalize_images=self.normalize_images)  # type: ignore[arg-type]
        )
        return features

    def _normalized(self, features: th.Tensor) -> th.Tensor:
        return features if self.normalization is None else self.normalization(features)
