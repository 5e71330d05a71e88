"""What ``python -m rl_zoo3.train --algo hyper_ppo -optimize`` searches, and how a trial becomes arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rl_zoo3.utils import SimpleLinearSchedule

from sb3_hyper.hypernetworks import HYPER_INITIALIZERS
from sb3_hyper.policies import POLICIES

if TYPE_CHECKING:
    import optuna

METHODS = ("RNNHNPolicy", "SplAggerPolicy", "AMRLPolicy", "MaxPolicy", "RNNSPolicy", "RNNPolicy")
AGGREGATORS = ("Max", "Mean", "MeanMax", "Softmax", "WeightedMean", "WeightedSoftmax")
INITIALIZERS = ("BiasHyperInit", "WeightHyperInit", "BothHyperInit", "HyperFanIn")
POLICY_KEYWORDS = ("size", "encoder_dim", "latent_dim", "aggregator", "initializer")
MINIBATCHES = (1, 2, 4, 8)


def sample_hyper_ppo_params(
    trial: optuna.Trial, n_actions: int, n_envs: int, additional_args: dict[str, Any]
) -> dict[str, Any]:
    """
    Sample a method and its hyperparameters.

    Every trial samples every name, also those that its method has no use for: RL-Zoo's multivariate TPE draws jointly
    only what all trials have. Minibatches are whole sequences: the search is over the number of environments in a
    minibatch, which divides ``n_envs``.

    :param trial: where the values are drawn and recorded
    :param n_actions: size of a continuous action; not used
    :param n_envs: number of training environments; the same in all workers of a study
    :param additional_args: RL-Zoo's arguments for off-policy algorithms; not used
    :return: arguments of :class:`~sb3_hyper.hyper_ppo.HyperPPO`
    """
    environments = [n_envs // n_minibatches for n_minibatches in MINIBATCHES if n_envs % n_minibatches == 0]
    hyperparams = convert_hyper_ppo_params(
        {
            "policy": trial.suggest_categorical("policy", METHODS),
            "aggregator": trial.suggest_categorical("aggregator", AGGREGATORS),
            "initializer": trial.suggest_categorical("initializer", INITIALIZERS),
            "size": trial.suggest_categorical("size", ["XS", "S", "M", "L"]),
            "encoder_dim": trial.suggest_categorical("encoder_dim", [64, 128, 256]),
            "latent_dim": trial.suggest_categorical("latent_dim", [10, 24, 48]),
            "n_steps": trial.suggest_categorical("n_steps", [64, 128, 256, 512, 1024]),
            "environments_per_minibatch": trial.suggest_categorical("environments_per_minibatch", environments),
            "n_epochs": trial.suggest_categorical("n_epochs", [1, 2, 4, 8]),
            "learning_rate": trial.suggest_float("learning_rate", 3e-5, 3e-3, log=True),
            "anneal_learning_rate": trial.suggest_categorical("anneal_learning_rate", [False, True]),
            "clip_range": trial.suggest_categorical("clip_range", [0.05, 0.1, 0.2]),
            "ent_coef": trial.suggest_float("ent_coef", 1e-5, 0.1, log=True),
            "max_grad_norm": trial.suggest_float("max_grad_norm", 0.3, 2.0, log=True),
            "one_minus_gamma": trial.suggest_float("one_minus_gamma", 0.003, 0.1, log=True),
            "one_minus_gae_lambda": trial.suggest_float("one_minus_gae_lambda", 0.01, 0.2, log=True),
        }
    )
    for name in ("gamma", "gae_lambda", "batch_size"):
        trial.set_user_attr(name, hyperparams[name])
    if trial.params["anneal_learning_rate"]:
        # RL-Zoo makes schedules of what it reads from files, not of what is sampled.
        hyperparams["learning_rate"] = SimpleLinearSchedule(trial.params["learning_rate"])
    return hyperparams


def convert_hyper_ppo_params(sampled_params: dict[str, Any]) -> dict[str, Any]:
    r"""
    Turn the values that Optuna stores for a trial into arguments of the algorithm, as RL-Zoo's YAML has them.

    :math:`\text{batch\_size} = \text{n\_steps} \cdot \text{environments\_per\_minibatch}`; the value function
    is clipped as the policy is, as in the papers. An annealed learning rate is ``lin_…``.

    :param sampled_params: ``trial.params``
    :return: arguments of :class:`~sb3_hyper.hyper_ppo.HyperPPO`
    """
    hyperparams = dict(sampled_params)
    hyperparams["gamma"] = 1 - hyperparams.pop("one_minus_gamma")
    hyperparams["gae_lambda"] = 1 - hyperparams.pop("one_minus_gae_lambda")
    hyperparams["batch_size"] = hyperparams["n_steps"] * hyperparams.pop("environments_per_minibatch")
    hyperparams["clip_range_vf"] = hyperparams["clip_range"]
    if hyperparams.pop("anneal_learning_rate"):
        hyperparams["learning_rate"] = f"lin_{hyperparams['learning_rate']}"
    keywords = {name: hyperparams.pop(name) for name in POLICY_KEYWORDS}
    hyperparams["policy_kwargs"] = _useful_keywords(hyperparams["policy"], keywords)
    return hyperparams


def _useful_keywords(method: str, keywords: dict[str, Any]) -> dict[str, Any]:
    preset = POLICIES[method].preset
    useful = dict(keywords)
    # A straight-through gradient wants a readout as wide as the encoding: AMRL keeps its Max.
    if "aggregator" not in preset or preset.get("straight_through"):
        del useful["aggregator"]
    if preset.get("conditioning", "hypernetwork") != "hypernetwork":
        del useful["initializer"]
    elif HYPER_INITIALIZERS[useful["initializer"]].needs_normalized_latent:
        useful["normalize_latent"] = True
    return useful
