"""How far apart the networks lie that a hypernetwork writes for different tasks, without writing them down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch as th
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import override

from sb3_hyper.analysis.networks import Network, check_networks, generates_nothing, heads_of
from sb3_hyper.analysis.result import AnalysisResult, Array
from sb3_hyper.analysis.trial_factors import TrialFactors, play_trials
from sb3_hyper.hypernetworks import BaseNetwork
from sb3_hyper.policies import HyperActorCriticPolicy


@dataclass(frozen=True, eq=False)
class WeightSpread(AnalysisResult):
    """
    Principal components of generated parameters over trials.

    Row n of the matrix X ``(N, P)`` holds all P parameters that are generated for trial n; X is centred, its singular
    values are s, its left singular vectors U.

    :param environment: name of the environment
    :param policy: name of the policy
    :param mean_return: mean return of the trials
    :param n_parameters: P
    :param steps: the S steps within a trial at which parameters were taken; -1: the last
    :param tasks: ``(N, task_dim)``
    :param singular_values: ``(S, R)`` descending, R at most the number of factors
    :param scores: ``(S, N, 2)`` coordinates along the first two principal components, U s
    :param mean_norm: ``(S,)`` Euclidean norm of the mean parameters, to compare the spread with
    """

    environment: str
    policy: str
    mean_return: float
    n_parameters: int
    steps: list[int]
    tasks: Array
    singular_values: Array
    scores: Array
    mean_norm: Array

    def explained(self) -> Array:
        """``(S, R)`` share of each component in the variance; 0 where nothing varies."""
        variances = np.square(self.singular_values)
        share: Array = variances / np.maximum(variances.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        return share

    @override
    def table(self) -> str:
        n_trials = len(self.tasks)
        lines = [
            f"{self.environment}, {self.policy}: {n_trials} trials, mean return {self.mean_return:.2f}, "
            f"{self.n_parameters} generated parameters",
            "",
            f"{'step':<8}{'spread':>10}{'mean norm':>12}   share of the components",
        ]
        for step, values, shares, norm in zip(
            self.steps, self.singular_values, self.explained(), self.mean_norm, strict=True
        ):
            spread = np.sqrt(np.square(values).sum() / n_trials)
            text = " ".join(f"{share:.3f}" for share in shares[:6])
            lines.append(f"{'last' if step < 0 else step:<8}{spread:>10.3g}{norm:>12.3g}   {text}")
        return "\n".join([*lines, "", "spread: root mean square distance of a trial's parameters to the mean ones"])


def weight_spread(
    model: BaseAlgorithm,
    env: VecEnv | str,
    n_trials: int = 200,
    steps: Sequence[int] = (-1,),
    networks: Sequence[Network] = ("actor", "critic"),
    deterministic: bool = True,
    seed: int | None = 0,
) -> WeightSpread:
    """
    Play trials and compare the base networks that the agent's hypernetwork writes in them.

    :param model: a trained model whose policy has generated layers
    :param env: trials, vectorised or by the id of a registered environment
    :param n_trials: number of trials N, at least 2
    :param steps: steps within a trial at which parameters are taken, from 0; -1: the last
    :param networks: which base networks; one of them where they share nothing
    :param deterministic: whether to take the likeliest actions
    :param seed: seed of environments and actions; None: they go on with their random streams
    :return: singular values and principal components
    :raises ValueError: when there is no such network, nothing is generated, trials are too few or too short, or tasks
        are not known
    """
    check_networks(networks)
    policy = model.policy
    if not isinstance(policy, HyperActorCriticPolicy):
        raise ValueError(f"Got the policy {type(policy).__name__}, wanted a HyperActorCriticPolicy.")
    if policy.agent.critic_trunk is not None and len(set(networks)) > 1:
        raise ValueError(
            "With sharing='nothing' actor and critic have factors of their own: analyse one after the other, "
            "networks=('actor',) and networks=('critic',)."
        )
    gram, n_parameters = gram_matrix([getattr(policy.agent, network) for network in networks])
    if not n_parameters:
        raise generates_nothing(policy)
    trials = play_trials(model, env, n_trials, steps, deterministic, seed, networks[0])
    return spread_of_factors(trials, gram, n_parameters)


def spread_of_factors(trials: TrialFactors, gram: th.Tensor, n_parameters: int) -> WeightSpread:
    """
    Principal components of X = F A from the factors F and the Gram matrix A Aᵀ of the heads.

    With A Aᵀ = L Lᵀ the matrix F L has the singular values and left singular vectors of F A, and as few columns as
    there are factors.

    :param trials: what was played
    :param gram: ``(K + 1, K + 1)`` A Aᵀ
    :param n_parameters: columns of A
    :return: the spread
    """
    values, vectors = th.linalg.eigh(gram)
    root = vectors * values.clamp(min=0.0).sqrt()
    singular_values, scores, norms = [], [], []
    for factors in th.as_tensor(trials.factors, dtype=th.float64):
        mean = factors.mean(dim=0)
        # Centred before anything else: the constant factor is then exactly 0.
        left, singular, _ = th.linalg.svd((factors - mean) @ root, full_matrices=False)
        singular_values.append(singular.numpy())
        # A component has no sign of its own: its largest score is positive.
        largest = (left * singular)[:, :2].numpy()
        scores.append(largest * np.sign(largest[np.abs(largest).argmax(axis=0), [0, 1]]))
        norms.append(float((mean @ root).norm()))
    return WeightSpread(
        trials.environment,
        trials.policy,
        trials.mean_return,
        n_parameters,
        trials.steps,
        trials.tasks,
        np.stack(singular_values),
        np.stack(scores),
        np.array(norms),
    )


@th.no_grad()
def gram_matrix(networks: Sequence[BaseNetwork]) -> tuple[th.Tensor, int]:
    """
    A Aᵀ of the heads A ``(K + 1, P)`` that turn factors into all parameters of base networks, layer by layer.

    :param networks: base networks
    :return: ``(K + 1, K + 1)`` float64 on the CPU, and P; zeros and 0 where no layer is generated
    """
    gram, n_parameters = th.zeros(1, 1, dtype=th.float64), 0
    # Layers that actor and critic share count once.
    layers = dict.fromkeys(layer for network in networks for layer in [*network.hidden_layers, network.output_layer])
    for layer in layers:
        for head in heads_of(layer):
            gram = gram + (head.double() @ head.double().t()).cpu()
            n_parameters += head.shape[1]
    return gram, n_parameters
