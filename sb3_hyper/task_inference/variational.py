"""The variational objective of VariBAD."""

from collections.abc import Callable, Sequence

import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from typing_extensions import override

from sb3_hyper.checks import check_counts, check_weight, check_widths
from sb3_hyper.errors import unknown_name
from sb3_hyper.task_inference.decoder import TransitionDecoder
from sb3_hyper.task_inference.episode_means import episode_means, named_episode_means
from sb3_hyper.task_inference.gaussians import gaussian_entropy, kl_chain
from sb3_hyper.task_inference.objective import AgentSpaces, AuxiliaryLoss, TrialObjective, TrialSequences

PRIORS = ("previous", "fixed")


class VariationalObjective(TrialObjective):
    r"""
    VariBAD's evidence lower bound (Zintgraf et al. 2020, section 3.2), for trials :math:`\tau`:

    .. math::
        L = \mathrm{mean}_t \Bigl[ -E_{m \sim q_t} \sum_{i=1}^{T} \bigl( c_r \log p(r_i | s_i, a_i, m) +
        c_s \log p(s_{i+1} | s_i, a_i, m) \bigr) + c_{KL}\, \mathrm{KL}(q_t \Vert q_{t-1}) \Bigr]

    :math:`q_t` is the encoder's belief after t observations; past and future are decoded from it. The likelihoods are
    Gaussian of variance 1, constants left out. Terms t and transitions i are sub-sampled; the sum over i is scaled up,
    so that its expectation is the whole sum. A state that is not shown, because another episode begins, is not
    decoded.

    :param agent: what it is built for
    :param reward_coef: :math:`c_r`, 0 or above
    :param state_coef: :math:`c_s`, 0 or above; 0: there is no decoder of states
    :param kl_coef: :math:`c_{KL}`, 0 or above
    :param prior: "previous" belief, the first one being N(0, 1); or "fixed": N(0, 1) at all times
    :param n_elbo_terms: how many t are drawn; None: all
    :param n_decoded_steps: how many i are drawn; None: all
    :param hidden_dims: widths of the decoders' ReLU layers
    :param learning_rate: of Adam, for encoder and decoders, a number or a schedule
    :param n_updates: steps of Adam after each update of PPO; None: 3 for every 16 trials that ended in its rollout
    :param n_trials: trials of a step
    :param buffer_size: most steps of past trials that are kept
    :raises ValueError: when a setting is out of range, nothing would be decoded, the latent has no halves, or states
        are images or containers
    """

    def __init__(
        self,
        agent: AgentSpaces,
        reward_coef: float = 1.0,
        state_coef: float = 0.0,
        kl_coef: float = 0.1,
        prior: str = "previous",
        n_elbo_terms: int | None = 50,
        n_decoded_steps: int | None = 50,
        hidden_dims: Sequence[int] = (64, 32),
        learning_rate: float | Callable[[float], float] = 1e-3,
        n_updates: int | None = None,
        n_trials: int = 25,
        buffer_size: int = 100_000,
    ) -> None:
        super().__init__(learning_rate, n_updates, n_trials, buffer_size)
        check_weight(reward_coef=reward_coef, state_coef=state_coef, kl_coef=kl_coef)
        if not reward_coef and not state_coef:
            raise ValueError(
                "reward_coef=0 and state_coef=0 leave nothing to decode: the belief would learn to stay at its prior. "
                "Give one of them a weight, for example reward_coef=1."
            )
        for name, n in (("n_elbo_terms", n_elbo_terms), ("n_decoded_steps", n_decoded_steps)):
            check_counts(**{name: 1 if n is None else n})
        if prior not in PRIORS:
            raise unknown_name("prior", prior, PRIORS)
        _check_agent(agent)
        self.reward_coef, self.state_coef, self.kl_coef = reward_coef, state_coef, kl_coef
        self.prior = prior
        self.n_elbo_terms, self.n_decoded_steps = n_elbo_terms, n_decoded_steps
        widths = check_widths("hidden_dims", hidden_dims)
        if not widths:
            raise ValueError("hidden_dims=[]: a decoder needs at least one layer, for example [64, 32].")
        input_dim = agent.state_dim + spaces.flatdim(agent.action_space)
        self.reward_decoder = TransitionDecoder(agent.belief_dim, input_dim, widths, 1)
        self.state_decoder = (
            TransitionDecoder(agent.belief_dim, input_dim, widths, agent.state_dim) if state_coef else None
        )

    @override
    def loss(self, batch: TrialSequences) -> AuxiliaryLoss:
        terms, steps = (draw(len(batch.mask), n) for n in (self.n_elbo_terms, self.n_decoded_steps))
        mean, log_variance = batch.mean[terms], batch.log_variance[terms]
        latents = th.addcmul(mean, (0.5 * log_variance).exp(), th.randn_like(mean))
        counted = batch.mask[terms]
        # The number to expect, not the one drawn: else steps of short trials would count for less.
        n_terms = batch.mask.sum() * (len(terms) / len(batch.mask))
        kl = kl_chain(batch.mean, batch.log_variance, self.prior == "previous")[terms]
        kl_mean = (kl * counted).sum() / n_terms
        rewards, reward_error = self._reward_loss(batch, latents, counted, steps)
        loss = self.reward_coef * (rewards * counted).sum() / n_terms
        if self.kl_coef:
            # Without weight it may be infinite, and 0 times that is no number.
            loss = loss + self.kl_coef * kl_mean
        metrics = {"kl": kl_mean.detach(), "reward_error": reward_error, **_entropies(batch)}
        if self.state_decoder is not None:
            states, state_error = self._state_loss(self.state_decoder, batch, latents, counted, steps)
            loss = loss + self.state_coef * (states * counted).sum() / n_terms
            metrics["state_error"] = state_error
        return AuxiliaryLoss(loss, {"loss": loss.detach(), **metrics})

    def _reward_loss(
        self, batch: TrialSequences, latents: th.Tensor, counted: th.Tensor, steps: th.Tensor
    ) -> tuple[th.Tensor, th.Tensor]:
        """-log p of all rewards, ``(terms, B)``, and the mean squared error of one."""
        predictions = self.reward_decoder(latents, _decoder_inputs(batch)[steps])[..., 0]
        squares = (predictions - batch.rewards[steps]).square()
        return _sum_over_steps(squares, counted, batch.mask[steps], len(batch.mask))

    def _state_loss(
        self,
        decoder: TransitionDecoder,
        batch: TrialSequences,
        latents: th.Tensor,
        counted: th.Tensor,
        steps: th.Tensor,
    ) -> tuple[th.Tensor, th.Tensor]:
        """-log p of all next states, ``(terms, B)``, and the mean squared error of one number."""
        next_states = batch.states.roll(-1, dims=0)
        # The last step of a trial or an episode shows another state than the one that it led to.
        is_shown = (batch.mask & ~batch.new_episode).roll(-1, dims=0)
        is_shown[-1] = False
        squares = (decoder(latents, _decoder_inputs(batch)[steps]) - next_states[steps]).square()
        summed, error = _sum_over_steps(squares.sum(dim=-1), counted, is_shown[steps], len(batch.mask))
        return summed, error / batch.states.shape[-1]


def _check_agent(agent: AgentSpaces) -> None:
    if not agent.belief_dim:
        raise ValueError(
            f"VariationalObjective reads the latent as mean and log-variance, but latent_dim={agent.latent_dim} has no "
            "halves. Use an even number, or policy_kwargs=dict(latent='gaussian')."
        )
    if is_image_space(agent.state_space) or not isinstance(
        agent.state_space, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
    ):
        raise ValueError(
            f"VariationalObjective decodes rewards from states, but states are {agent.state_space}: images and "
            "containers have no decoder. Use flat states, for example MineMaze-v0 instead of MineMazePixels-v0."
        )


def draw(n_steps: int, n_drawn: int | None) -> th.Tensor:
    """``n_drawn`` different steps of ``n_steps``, in any order; all of them where that is None, or no fewer."""
    if n_drawn is None or n_drawn >= n_steps:
        return th.arange(n_steps)
    return th.randperm(n_steps)[:n_drawn]


def _decoder_inputs(batch: TrialSequences) -> th.Tensor:
    return th.cat((batch.states, batch.actions), dim=-1)


def _sum_over_steps(
    squares: th.Tensor, counted_terms: th.Tensor, counted_steps: th.Tensor, n_steps: int
) -> tuple[th.Tensor, th.Tensor]:
    """
    From squared errors of some steps to half their sum over all steps, and their mean.

    :param squares: ``(terms, steps, B)``
    :param counted_terms: ``(terms, B)`` bool, whether the belief is one within the trial
    :param counted_steps: ``(steps, B)`` bool, whether the step counts
    :param n_steps: T, of which these are drawn
    :return: ``(terms, B)``, and a scalar without gradient
    """
    kept = th.where(counted_steps, squares, 0.0)
    both = counted_terms[:, None] & counted_steps
    mean = th.where(both, squares.detach(), 0.0).sum() / both.sum()
    return 0.5 * n_steps / len(counted_steps) * kept.sum(dim=1), mean


@th.no_grad()
def _entropies(batch: TrialSequences) -> dict[str, th.Tensor]:
    """The entropy of the beliefs, in all and in each episode."""
    entropy = gaussian_entropy(batch.log_variance)
    resets = th.zeros_like(batch.mask)
    resets[0] = True
    by_episode = episode_means(entropy, resets, batch.new_episode, batch.mask)
    overall = (entropy * batch.mask).sum() / batch.mask.sum()
    return {"posterior_entropy": overall, **named_episode_means("posterior_entropy", by_episode)}
