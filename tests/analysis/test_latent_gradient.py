"""The callback: what it measures, that it changes nothing, and that it goes."""

import numpy as np
import pytest
import torch as th
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.logger import KVWriter, configure

from sb3_hyper import HyperPPO
from sb3_hyper.analysis import LatentGradientCallback
from sb3_hyper.policies import POLICIES
from sb3_hyper.policies.settings import LAYER_OF_CONDITIONING, SHARINGS
from sb3_hyper.task_inference import AUXILIARY_OBJECTIVES, EmbeddingRegression, MinibatchObjective

KEY = "train/latent_gradient_norm"


class Kept(KVWriter):
    """What was logged in all dumps."""

    def __init__(self):
        self.values = {}

    def write(self, key_values, key_excluded, step=0):
        for key, value in key_values.items():
            self.values.setdefault(key, []).append(value)

    def close(self):
        pass


def learn(model, callback=None, n_rollouts=2):
    """Train; give back what was logged."""
    kept = Kept()
    logger = configure(None, [])
    logger.output_formats = [kept]
    model.set_logger(logger)
    model.learn(n_rollouts * model.n_steps * model.n_envs, callback)
    return kept.values


def hooks_of(model):
    return [hooks for module in model.policy.modules() for hooks in (module._forward_hooks, module._forward_pre_hooks)]


@pytest.fixture
def keep_latents():
    """``keep_latents(model)``: a list that is filled with the latents of all minibatches, whose gradients are kept."""

    def keep_latents(model):
        kept, evaluate = [], model.policy.evaluate_sequences

        def evaluate_and_keep(*args):
            evaluation = evaluate(*args)
            evaluation.latents.retain_grad()
            kept.append(evaluation.latents)
            return evaluation

        model.policy.evaluate_sequences = evaluate_and_keep
        return kept

    return keep_latents


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("conditioning", LAYER_OF_CONDITIONING)
def test_the_norm_is_that_of_the_losses_gradient(make_model, keep_latents, conditioning, sharing):
    model = make_model("SplAggerPolicy", policy_kwargs={"conditioning": conditioning, "sharing": sharing})
    latents, callback = keep_latents(model), LatentGradientCallback()
    learn(model, callback, n_rollouts=1)
    n_minibatches = model.n_steps * model.n_envs // model.batch_size
    norms = [float(latent.grad.norm()) for latent in latents]
    assert len(norms) == n_minibatches and min(norms) > 0
    assert callback.result().norms == pytest.approx([np.mean(norms)], rel=1e-5)


MINIBATCH_OBJECTIVES = [name for name, cls in AUXILIARY_OBJECTIVES.items() if issubclass(cls, MinibatchObjective)]


@pytest.mark.parametrize("sharing", ["nothing", "trunk"])
@pytest.mark.parametrize("objective", MINIBATCH_OBJECTIVES)
def test_what_an_objective_adds_is_left_out(make_model, make_env, keep_latents, objective, sharing):
    """One minibatch and one loss: the steps that it leads to do not count."""
    measured = []
    has_warm_up = issubclass(AUXILIARY_OBJECTIVES[objective], EmbeddingRegression)
    for coef in (0.0, 100.0):
        th.manual_seed(0)
        model = make_model(
            "RNNHNPolicy", make_env(expose_task=True), batch_size=32, auxiliary_class=objective,
            auxiliary_kwargs={"coef": coef, **({"n_warmup_updates": 1} if has_warm_up else {})},
            policy_kwargs={"sharing": sharing},
        )  # fmt: skip
        latents, callback = keep_latents(model), LatentGradientCallback()
        if has_warm_up:
            # Over before it begins: the policy is the same with both weights.
            model.auxiliary.objective.finish_update()
        learn(model, callback, 1)
        (kept,), (norm,) = latents, callback.result().norms
        measured.append((norm, float(kept.grad.norm())))
    (without, alone), (beside, together) = measured
    assert without == pytest.approx(alone, rel=1e-5) and alone > 0
    assert beside == pytest.approx(without, rel=1e-5) and together != pytest.approx(alone, rel=0.01)


def test_a_detached_latent_is_refused_before_training(make_model, make_env):
    model = make_model("BIPlusPlusHNPolicy", make_env(expose_task=True))
    with pytest.raises(ValueError, match=r"BIPlusPlusHNPolicy has detach_latent=True.*detach_latent=False"):
        learn(model, LatentGradientCallback())
    assert not any(hooks_of(model)) and model.num_timesteps == 0


@pytest.mark.parametrize("algorithm", [HyperPPO, RecurrentPPO])
def test_it_is_logged_and_changes_nothing(make_model, algorithm):
    policy = POLICIES["SplAggerPolicy"]
    callback = LatentGradientCallback()
    # One after the other: their random numbers are the process's.
    watched = make_model(policy, algorithm=algorithm, scrambled=False)
    logged = learn(watched, callback, 3)
    alone = make_model(policy, algorithm=algorithm, scrambled=False)
    unlogged = learn(alone, None, 3)
    for a, b in zip(watched.policy.parameters(), alone.policy.parameters(), strict=True):
        assert th.equal(a, b)
    # An update's values are written with the rollout after it, so the last update's are not.
    result = callback.result()
    assert logged[KEY] == result.norms[:2].tolist() and KEY not in unlogged
    assert logged["train/loss"] == unlogged["train/loss"] and len(logged["train/loss"]) == len(logged[KEY])
    steps = watched.n_steps * watched.n_envs
    assert result.timesteps.tolist() == [steps, 2 * steps, 3 * steps]
    assert result.name == "SplAggerPolicy" and f"{result.norms[0]:.3g}" in result.table()


def test_hooks_go_at_the_end_of_training(make_model):
    model, callback = make_model(), LatentGradientCallback()
    learn(model, callback)
    assert not any(hooks_of(model))
    learn(model, callback, 1)
    assert not any(hooks_of(model)) and len(callback.result().norms) == 3


def test_a_training_that_failed_leaves_one_hook_at_most(make_model):
    model, callback = make_model(), LatentGradientCallback()
    model.train, train = lambda: 1 / 0, model.train
    with pytest.raises(ZeroDivisionError):
        learn(model, callback, 1)
    model.train = train
    learn(model, callback, 1)
    assert not any(hooks_of(model)) and len(callback.result().norms) == 1


def test_before_training_there_is_nothing():
    assert LatentGradientCallback().result().norms.tolist() == []


def test_policies_without_a_latent_are_refused():
    model = RecurrentPPO("MlpLstmPolicy", "CartPole-v1", n_steps=8, batch_size=8, device="cpu")
    with pytest.raises(TypeError, match="which has no latent; wanted a HyperActorCriticPolicy"):
        model.learn(8, LatentGradientCallback())
