"""The policy: SB3's interface around the agent, time-major as HyperPPO calls it."""

from collections.abc import Mapping, Sequence
from functools import partialmethod
from typing import Any, ClassVar

import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import (
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    StateDependentNoiseDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import nn

from sb3_hyper.aggregators import Aggregator
from sb3_hyper.encoders import SequenceEncoder
from sb3_hyper.policies.agent import BaseInput
from sb3_hyper.policies.answers import Acted, ActingStep, Evaluation
from sb3_hyper.policies.build import build_agent, default_extractor
from sb3_hyper.policies.features import EncoderInput, Observation, state_space_of
from sb3_hyper.policies.generation import Generation
from sb3_hyper.policies.latent import LatentKind
from sb3_hyper.policies.recurrent_state import RecurrentStateShape
from sb3_hyper.policies.sampling import sample_categorical
from sb3_hyper.policies.sequence_major import SequenceMajorPolicy
from sb3_hyper.policies.settings import DEFAULT_INITIALIZER, AgentSettings, Conditioning, Sharing
from sb3_hyper.task_inference import AuxiliaryObjective

Preset = Mapping[str, Any]
"""Keyword arguments of a policy."""


class HyperActorCriticPolicy(SequenceMajorPolicy):
    """
    Actor and critic whose behaviour a latent conditions, the latent being encoded from the trial so far.

    The named policies are this class with other defaults (:mod:`~sb3_hyper.policies.presets`). It works in HyperPPO and
    in unmodified ``sb3_contrib.RecurrentPPO``. Trial observations (:class:`~sb3_hyper.envs.RL2Observation`) are routed
    by key; a plain observation is both transition and state.

    :param observation_space: observation space
    :param action_space: action space
    :param lr_schedule: learning rate schedule
    :param size: named size of the base networks, "XS", "S", "M", "L", "XL" (the papers') or "XXL"
    :param net_arch: hidden layers of the base networks instead of the named ones: a list, or ``dict(pi=[…], vf=[…])``
    :param state_dim: width of the base networks' state embedding, instead of the named one; 0: the state itself
    :param encoder: "gru", "lstm", "lstm_invinit", "lru", "min_gru", "transformer" or "pointwise", or a subclass of
        SequenceEncoder
    :param encoder_kwargs: keyword arguments of the encoder beside its widths, for example ``n_layers``
    :param encoder_dim: width of an encoding
    :param aggregator: name or class of an aggregator over the encodings, or None for the encoder alone
    :param aggregator_kwargs: keyword arguments of the aggregator beside its width, for example ``temperature``
    :param encoder_input: "transition" (all methods but one), or the "task" itself: the multi-task upper bound
    :param split: whether half of an encoding bypasses the aggregator
    :param straight_through: whether the aggregator's gradient is that of a running sum (AMRL)
    :param latent: "linear" in the encoding; "gaussian", with mean and log-variance linear in it; or "gaussian_product"
        (PEARL), a product of one Gaussian factor for each transition. HyperPPO samples a Gaussian latent in rollouts;
        everywhere else, stock RecurrentPPO included, its mean is taken
    :param latent_dim: width of the latent
    :param normalize_latent: whether a latent is brought to mean 0 and variance 1 over its entries
    :param detach_latent: whether the losses of actor and critic stop at the latent: then HyperPPO's auxiliary
        objective alone trains what comes before it
    :param trunk_dims: widths of the tanh layers between latent and heads; [] for heads on the latent itself
    :param conditioning: "hypernetwork", "film", "latent" (base networks see the latent only) or "state_and_latent"
    :param conditioned_layers: the base networks' layers that the latent conditions, counted from 0 at the input (-1:
        the output layer); None: all
    :param sharing: what actor and critic have in common behind the latent: "nothing", the "trunk", or the trunk and
        all "hidden_layers"
    :param generation: when the latent that conditions the base networks is renewed: at every "step", or at the first
        step of an "episode" or of a "trial" alone, when little or nothing is known of the task
    :param initializer: initialisation of conditioned layers, for example "BiasHyperInit"
    :param base_initializer: what the base layers would start with, "orthogonal", "normc" or "kaiming"
    :param state_embedding_dim: width of the encoder's embedding of a state
    :param action_embedding_dim: width of that of the previous action; None: 8 for discrete, 16 for continuous actions
    :param reward_embedding_dim: width of that of the previous reward; None: likewise
    :param normalize_states: whether HyperPPO keeps running moments of the states and normalises by them
    :param activation_fn: activation of the base networks
    :param use_sde: whether to use state-dependent exploration
    :param log_std_init: initial log standard deviation of continuous actions
    :param full_std: whether gSDE has (features x actions) parameters
    :param use_expln: whether gSDE uses ``expln`` instead of ``exp``
    :param squash_output: whether gSDE squashes actions by tanh
    :param features_extractor_class: extractor of the state; None: by its space, flat, NatureCNN or combined
    :param features_extractor_kwargs: its keyword arguments
    :param normalize_images: whether images are divided by 255
    :param optimizer_class: optimizer
    :param optimizer_kwargs: its keyword arguments, without the learning rate
    :raises ValueError: when a name is unknown or widths do not fit
    """

    preset: ClassVar[Preset] = {}
    """Defaults of a named policy; explicit ``policy_kwargs`` win."""
    auxiliary_class: ClassVar[type[AuxiliaryObjective] | None] = None
    """The objective that HyperPPO trains beside its own, unless another is given."""
    auxiliary_preset: ClassVar[Preset] = {}
    """Defaults of its keywords; HyperPPO's ``auxiliary_kwargs`` win."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "preset" not in cls.__dict__:
            return
        if "__init__" in cls.__dict__:
            raise TypeError(
                f"{cls.__name__} has a preset and an __init__ of its own: put the defaults into one of them."
            )
        # The parent's constructor may be a preset itself: keywords that are given later win.
        type.__setattr__(cls, "__init__", partialmethod(super(cls, cls).__init__, **cls.preset))

    def __init__(
        self,
        observation_space: spaces.Space,  # type: ignore[type-arg]
        action_space: spaces.Space,  # type: ignore[type-arg]
        lr_schedule: Schedule,
        size: str = "S",
        net_arch: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
        state_dim: int | None = None,
        encoder: str | type[SequenceEncoder] = "gru",
        encoder_kwargs: Mapping[str, Any] | None = None,
        encoder_dim: int = 256,
        encoder_input: EncoderInput = "transition",
        aggregator: str | type[Aggregator] | None = None,
        aggregator_kwargs: Mapping[str, Any] | None = None,
        split: bool = True,
        straight_through: bool = False,
        latent: LatentKind = "linear",
        latent_dim: int = 24,
        normalize_latent: bool = False,
        detach_latent: bool = False,
        trunk_dims: Sequence[int] = (25,),
        conditioning: Conditioning = "hypernetwork",
        conditioned_layers: Sequence[int] | None = None,
        sharing: Sharing = "trunk",
        generation: Generation = "step",
        initializer: str = DEFAULT_INITIALIZER,
        base_initializer: str = "orthogonal",
        state_embedding_dim: int = 32,
        action_embedding_dim: int | None = None,
        reward_embedding_dim: int | None = None,
        normalize_states: bool = True,
        activation_fn: type[nn.Module] = nn.Tanh,
        use_sde: bool = False,
        log_std_init: float = 0.0,
        full_std: bool = True,
        use_expln: bool = False,
        squash_output: bool = False,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        features_extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
        optimizer_class: type[th.optim.Optimizer] = th.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.state_space = state_space_of(observation_space)
        small = 8 if not isinstance(action_space, spaces.Box) else 16
        self.settings = AgentSettings(
            size=size,
            net_arch=net_arch,
            state_dim=state_dim,
            encoder=encoder,
            encoder_kwargs=encoder_kwargs or {},
            encoder_dim=encoder_dim,
            encoder_input=encoder_input,
            aggregator=aggregator,
            aggregator_kwargs=aggregator_kwargs or {},
            split=split,
            straight_through=straight_through,
            latent=latent,
            latent_dim=latent_dim,
            normalize_latent=normalize_latent,
            detach_latent=detach_latent,
            trunk_dims=trunk_dims,
            conditioning=conditioning,
            conditioned_layers=conditioned_layers,
            sharing=sharing,
            generation=generation,
            initializer=initializer,
            base_initializer=base_initializer,
            state_embedding_dim=state_embedding_dim,
            action_embedding_dim=small if action_embedding_dim is None else action_embedding_dim,
            reward_embedding_dim=small if reward_embedding_dim is None else reward_embedding_dim,
            normalize_states=normalize_states,
        )
        if optimizer_kwargs is None and issubclass(optimizer_class, th.optim.Adam):
            optimizer_kwargs = {"eps": 1e-5, "fused": True}
        # RecurrentActorCriticPolicy's own constructor would build LSTMs: go past it.
        ActorCriticPolicy.__init__(
            self,
            observation_space,
            action_space,
            lr_schedule,
            net_arch=[],
            activation_fn=activation_fn,
            ortho_init=False,
            use_sde=use_sde,
            log_std_init=log_std_init,
            full_std=full_std,
            use_expln=use_expln,
            squash_output=squash_output,
            features_extractor_class=features_extractor_class or default_extractor(self.state_space),
            features_extractor_kwargs=features_extractor_kwargs,
            normalize_images=normalize_images,
            optimizer_class=optimizer_class,
            optimizer_kwargs=optimizer_kwargs,
        )

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """The extractor of the *state*, which is part of a trial's observation."""
        return self.features_extractor_class(self.state_space, **self.features_extractor_kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        self.agent = build_agent(
            self.observation_space,
            self.action_space,
            self.features_extractor,
            self.normalize_images,
            self.activation_fn,
            self.settings,
        )
        if isinstance(self.action_dist, DiagGaussianDistribution):
            self.log_std = nn.Parameter(th.full((get_action_dim(self.action_space),), float(self.log_std_init)))
        elif isinstance(self.action_dist, StateDependentNoiseDistribution):
            hidden_dim = self.agent.actor.hidden_dim
            _, self.log_std = self.action_dist.proba_distribution_net(hidden_dim, self.log_std_init, hidden_dim)
        self.memory_dim = self.agent.memory_dim
        self.lstm_actor = RecurrentStateShape.of_memory(self.memory_dim)  # type: ignore[assignment]
        self.lstm_hidden_state_shape = (self.lstm_actor.num_layers, 1, self.lstm_actor.hidden_size)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        parameters = super()._get_constructor_parameters()
        del parameters["ortho_init"]
        return {**parameters, **self.settings.as_kwargs()}

    def act(
        self,
        obs: Observation,
        memory: th.Tensor,
        episode_starts: th.Tensor,
        deterministic: bool = False,
        noise: th.Tensor | None = None,
    ) -> tuple[th.Tensor, th.Tensor, th.Tensor, th.Tensor]:
        """
        One step of B environments.

        :param obs: B observations
        :param memory: ``(B, memory_dim)``
        :param episode_starts: ``(B,)`` bool, whether a trial starts with this observation
        :param deterministic: whether to take the likeliest actions
        :param noise: ``(B, noise_dim)`` what a Gaussian latent is sampled with; None: its mean is taken
        :return: actions ``(B, *action shape)``, values ``(B,)``, log-probabilities ``(B,)``, the next memory
        """
        encoded = self.agent.encode(obs, memory, episode_starts[None], noise)
        distribution = self._distribution(encoded.actor)
        actions = distribution.get_actions(deterministic=deterministic)
        log_prob, values = distribution.log_prob(actions), self.values(encoded.critic)
        return actions.view(-1, *self.action_space.shape or ()), values, log_prob, encoded.memory

    def make_act(self) -> ActingStep:
        """
        Prepare :meth:`act` for many steps with the weights as they are now: the same in fewer operations, without the
        critic, whose input comes back for :meth:`values`.

        Call it and what it returns under ``th.no_grad()``, and again when the weights have changed.
        """
        step = self.agent.make_step()
        is_categorical = isinstance(self.action_dist, CategoricalDistribution)

        def act(
            obs: Observation, memory: th.Tensor, episode_starts: th.Tensor, noise: th.Tensor | None = None
        ) -> Acted:
            output, hidden, critic_input, memory = step(obs, memory, episode_starts, noise)
            if is_categorical:
                return Acted(*sample_categorical(output), memory, critic_input)
            distribution = self._distribution_of(output, hidden)
            actions = distribution.get_actions()
            shaped = actions.view(-1, *self.action_space.shape or ())
            return Acted(shaped, distribution.log_prob(actions), memory, critic_input)

        return act

    def evaluate_sequences(
        self,
        obs: Observation,
        actions: th.Tensor,
        memory: th.Tensor,
        resets: th.Tensor,
        noise: th.Tensor | None = None,
    ) -> Evaluation:
        """
        Evaluate actions along sequences, in one pass.

        :param obs: T * B observations, time-major
        :param actions: ``(T * B, *action shape)``
        :param memory: ``(B, memory_dim)`` memory before the first step
        :param resets: ``(T, B)`` bool, whether a trial starts at this step
        :param noise: ``(T * B, noise_dim)`` what the latent was sampled with; None: its mean is taken
        :return: values, log-probabilities, entropies and the latent's divergence
        """
        if isinstance(self.action_space, spaces.Box):
            # Distributions know actions as vectors: (T * B, *action shape) -> (T * B, A)
            actions = actions.flatten(1)
        elif isinstance(self.action_space, spaces.MultiBinary):
            # sb3-contrib's buffer keeps them as integers, which torch's Bernoulli refuses.
            actions = actions.float()
        encoded = self.agent.encode(obs, memory, resets, noise)
        distribution = self._distribution(encoded.actor)
        log_prob, entropy = distribution.log_prob(actions), distribution.entropy()
        latent_kl = None if self.settings.detach_latent else self.agent.to_latent.kl_to_prior(encoded.encodings)
        return Evaluation(self.values(encoded.critic), log_prob, entropy, latent_kl, encoded.latents)

    def evaluate_values(
        self, obs: Observation, memory: th.Tensor, resets: th.Tensor, noise: th.Tensor | None = None
    ) -> th.Tensor:
        """The critic along sequences; arguments as in :meth:`evaluate_sequences`. ``(T * B,)``."""
        return self.values(self.agent.encode(obs, memory, resets, noise).critic)

    def sample_noise(self, memory: th.Tensor) -> th.Tensor:
        """What a Gaussian latent is sampled with at one step of B environments: ``(B, noise_dim)`` standard normal."""
        return th.randn(len(memory), self.noise_dim, device=memory.device)

    @property
    def noise_dim(self) -> int:
        """How many random numbers an environment's latent takes at a step; 0 where it is not sampled."""
        return self.agent.to_latent.noise_dim

    def update_normalization(self, obs: Observation) -> None:
        """Take N observations into the running moments of the states."""
        self.agent.features.update_normalization(obs)

    def values(self, critic_input: BaseInput) -> th.Tensor:
        """The critic's values ``(N,)`` for N of its inputs."""
        values: th.Tensor = self.agent.critic(*critic_input)[0]
        return values.squeeze(-1)

    def _distribution(self, actor_input: BaseInput) -> Distribution:
        return self._distribution_of(*self.agent.actor(*actor_input))

    def _distribution_of(self, output: th.Tensor, hidden: th.Tensor) -> Distribution:
        if isinstance(self.action_dist, StateDependentNoiseDistribution):
            return self.action_dist.proba_distribution(output, self.log_std, hidden)
        if isinstance(self.action_dist, DiagGaussianDistribution):
            return self.action_dist.proba_distribution(output, self.log_std)
        return self.action_dist.proba_distribution(output)
