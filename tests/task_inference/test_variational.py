"""The evidence lower bound against a loop over beliefs and steps, its sub-sampling, and what it decodes."""

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from torch.distributions import Independent, Normal, kl_divergence

from sb3_hyper import HyperPPO
from sb3_hyper.aggregators import AGGREGATORS
from sb3_hyper.task_inference import TrialSequences, VariationalObjective
from sb3_hyper.task_inference.decoder import TransitionDecoder

T, B, D = 6, 3, 3
ALL = {"n_elbo_terms": None, "n_decoded_steps": None}


@pytest.fixture
def no_noise(monkeypatch):
    """Latents are their beliefs' means."""
    monkeypatch.setattr(th, "randn_like", th.zeros_like)


def make_batch():
    """Trials of 6, 4 and 1 steps; the second episode of the first begins at step 2."""
    mask = th.arange(T)[:, None] < th.tensor([6, 4, 1])
    new_episode = th.zeros(T, B, dtype=th.bool)
    new_episode[2, 0] = True
    padded = mask[..., None]
    return TrialSequences(
        mean=th.randn(T, B, D).requires_grad_(),
        log_variance=th.randn(T, B, D).requires_grad_(),
        states=th.randn(T, B, 3) * padded,
        actions=th.nn.functional.one_hot(th.randint(2, (T, B)), 2) * padded,
        rewards=th.randn(T, B) * mask,
        new_episode=new_episode,
        mask=mask,
    )


def reconstruction(decoder, latent, batch, b, steps, targets):
    total = 0.0
    for i in steps:
        inputs = th.cat((batch.states[i, b], batch.actions[i, b]))
        predicted = decoder(latent[None, None], inputs[None, None])[0, 0, 0]
        constant = 0.5 * np.log(2 * np.pi) * len(predicted)
        total = total - Normal(predicted, 1.0).log_prob(targets[i, b]).sum() - constant
    return total


def elbo_by_hand(objective, batch):
    """With latents that are the means."""
    losses, standard = [], Independent(Normal(th.zeros(D), th.ones(D)), 1)
    beliefs = Independent(Normal(batch.mean, (0.5 * batch.log_variance).exp()), 1)
    for b in range(B):
        length = int(batch.mask[:, b].sum())
        for t in range(length):
            before = standard
            if t and objective.prior == "previous":
                before = Independent(Normal(beliefs.base_dist.loc[t - 1, b], beliefs.base_dist.scale[t - 1, b]), 1)
            now = Independent(Normal(beliefs.base_dist.loc[t, b], beliefs.base_dist.scale[t, b]), 1)
            loss = objective.kl_coef * kl_divergence(now, before)
            latent = batch.mean[t, b]
            rewards = batch.rewards[..., None]
            loss = loss + objective.reward_coef * reconstruction(
                objective.reward_decoder, latent, batch, b, range(length), rewards
            )
            if objective.state_decoder is not None:
                shown = [i for i in range(length - 1) if not batch.new_episode[i + 1, b]]
                following = batch.states.roll(-1, dims=0)
                loss = loss + objective.state_coef * reconstruction(
                    objective.state_decoder, latent, batch, b, shown, following
                )
            losses.append(loss)
    return th.stack(losses).mean()


@pytest.mark.parametrize("prior", ["previous", "fixed"])
@pytest.mark.parametrize("state_coef", [0.0, 0.7])
@pytest.mark.parametrize("kl_coef", [0.0, 0.1])
def test_loss_is_the_negative_bound(make_agent_spaces, no_noise, prior, state_coef, kl_coef):
    objective = VariationalObjective(
        make_agent_spaces(), prior=prior, reward_coef=1.3, state_coef=state_coef, kl_coef=kl_coef, **ALL
    )
    batch = make_batch()
    loss, metrics = objective.loss(batch)
    th.testing.assert_close(loss, elbo_by_hand(objective, batch), rtol=1e-4, atol=1e-4)
    assert metrics["loss"] == loss and not any(metric.requires_grad for metric in metrics.values())
    assert ("state_error" in metrics) == bool(state_coef)


def test_padding_changes_nothing(make_agent_spaces, no_noise):
    objective = VariationalObjective(make_agent_spaces(), state_coef=1.0, **ALL)
    batch = make_batch()
    noisy = batch._replace(
        states=th.where(batch.mask[..., None], batch.states, 9.0),
        rewards=th.where(batch.mask, batch.rewards, 9.0),
        mean=th.where(batch.mask[..., None], batch.mean, 9.0),
        log_variance=th.where(batch.mask[..., None], batch.log_variance, 1.0),
    )
    th.testing.assert_close(objective.loss(noisy), objective.loss(batch), equal_nan=True)


def test_sub_samples_mean_what_the_whole_means(make_agent_spaces, no_noise):
    th.manual_seed(0)
    whole = VariationalObjective(make_agent_spaces(), state_coef=1.0, **ALL)
    sampled = VariationalObjective(make_agent_spaces(), state_coef=1.0, n_elbo_terms=2, n_decoded_steps=2)
    sampled.load_state_dict(whole.state_dict())
    batch = make_batch()
    with th.no_grad():
        losses = th.stack([sampled.loss(batch).loss for _ in range(3000)])
        expected = whole.loss(batch).loss
    assert losses.std() > 0.1 * expected
    assert losses.mean().item() == pytest.approx(expected.item(), abs=4 * losses.std().item() / 3000**0.5)


def test_latents_are_sampled_from_the_beliefs(make_agent_spaces, monkeypatch):
    objective = VariationalObjective(make_agent_spaces(), **ALL)
    batch = make_batch()
    seen = []
    objective.reward_decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    for _ in range(2000):
        objective.loss(batch)
    samples = th.stack(seen)
    th.testing.assert_close(samples.mean(0), batch.mean.detach(), atol=0.3, rtol=0.1)
    th.testing.assert_close(samples.var(0), batch.log_variance.detach().exp(), atol=0.05, rtol=0.2)


def test_entropies_are_those_of_the_beliefs(make_agent_spaces):
    metrics = VariationalObjective(make_agent_spaces()).loss(batch := make_batch()).metrics
    entropy = Independent(Normal(batch.mean, (0.5 * batch.log_variance).exp()), 1).entropy().detach()
    th.testing.assert_close(metrics["posterior_entropy"], entropy[batch.mask].mean())
    first = th.cat((entropy[:2, 0], entropy[:4, 1], entropy[:1, 2]))
    th.testing.assert_close(metrics["episode_1_posterior_entropy"], first.mean())
    th.testing.assert_close(metrics["episode_2_posterior_entropy"], entropy[2:, 0].mean())


@pytest.mark.parametrize("hidden_dims", [[7], [7, 5]])
def test_decoder_pairs_every_latent_with_every_transition(hidden_dims):
    decoder = TransitionDecoder(3, 4, hidden_dims, 2)
    latents, inputs = th.randn(5, B, 3), th.randn(6, B, 4)
    found = decoder(latents, inputs)
    assert found.shape == (5, 6, B, 2)
    first = th.cat((decoder.of_latent.weight, decoder.of_input.weight), dim=1)
    for s in range(5):
        for i in range(6):
            hidden = th.cat((latents[s], inputs[i]), dim=-1) @ first.T + decoder.of_latent.bias
            th.testing.assert_close(found[s, i], decoder.rest(hidden))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"kl_coef": -0.1}, "kl_coef=-0.1, wanted a weight of a loss"),
        ({"reward_coef": float("nan")}, "reward_coef=nan"),
        ({"reward_coef": 0, "state_coef": 0}, "leave nothing to decode"),
        ({"state_coef": -1}, "state_coef=-1"),
        ({"prior": "previos"}, "Unknown prior 'previos'.*Did you mean 'previous'"),
        ({"n_updates": 0}, "n_updates=0, wanted at least 1"),
        ({"n_updates": 2.5}, "n_updates=2.5, wanted at least 1, and a whole number"),
        ({"n_updates": "3"}, "n_updates='3'"),
        ({"buffer_size": 1e5}, "buffer_size=100000.0"),
        ({"n_trials": True}, "n_trials=True"),
        ({"learning_rate": "lin_1e-3"}, "learning_rate='lin_1e-3', wanted a number, 0 or above, or a schedule"),
        ({"n_trials": 0}, "n_trials=0"),
        ({"buffer_size": 0}, "buffer_size=0"),
        ({"n_elbo_terms": 0}, "n_elbo_terms=0, wanted at least 1"),
        ({"n_decoded_steps": -1}, "n_decoded_steps=-1"),
        ({"learning_rate": -1e-3}, "learning_rate=-0.001"),
        ({"hidden_dims": [0]}, "positive widths"),
        ({"hidden_dims": []}, "hidden_dims"),
    ],
)
def test_impossible_settings(make_agent_spaces, kwargs, message):
    with pytest.raises(ValueError, match=message):
        VariationalObjective(make_agent_spaces(), **kwargs)


def test_a_divergence_without_weight_may_be_infinite(make_agent_spaces):
    objective, batch = VariationalObjective(make_agent_spaces(), kl_coef=0.0), make_batch()
    loss, metrics = objective.loss(batch._replace(log_variance=batch.log_variance - 200))
    assert not metrics["kl"].isfinite() and loss.isfinite()


@pytest.mark.parametrize("space", [spaces.Box(0, 255, (3, 36, 36), np.uint8), spaces.Dict(a=spaces.Box(-1, 1, (3,)))])
def test_states_without_a_decoder(make_agent_spaces, space):
    with pytest.raises(ValueError, match="images and containers have no decoder"):
        VariationalObjective(make_agent_spaces(state_space=space))


def test_latents_without_halves(make_model):
    with pytest.raises(ValueError, match="latent_dim=5 has no halves.*even number"):
        make_model("VIPolicy", policy_kwargs={"latent_dim": 5})
    assert make_model("VIPolicy", policy_kwargs={"latent_dim": 5, "latent": "gaussian"}).learn(64)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_episodes_of_ordinary_environments_are_trials(env_id):
    model = HyperPPO("VIHNPolicy", env_id, n_steps=220, batch_size=220, n_epochs=1, policy_kwargs={"encoder_dim": 8})
    model.learn(220)
    assert model.auxiliary.trials.n_steps > 0


def test_trials_in_the_buffer_are_what_happened(make_model):
    model = make_model("VIPolicy", auxiliary_kwargs={"buffer_size": 40})
    model.learn(2 * 64)
    rollout, trials = model.rollout_buffer, model.auxiliary.trials.trials
    assert len(trials) == 5 and model.auxiliary.trials.n_steps == 40
    # Of 4 environments' last two trials, those of the last one.
    for trial, first in zip(list(trials)[-2:], (0, 8), strict=True):
        for key, x in rollout.observations.items():
            assert th.equal(trial[f"observation.{key}"], x[first : first + 8, 3])
        assert th.equal(trial["actions"], rollout.actions[first : first + 8, 3])
        within = trial["observation.previous_reward"][1:, 0]
        assert th.equal(trial["rewards"][:-1], within)


def test_learning_rate_follows_its_schedule(make_model):
    model = make_model("VIPolicy", auxiliary_kwargs={"learning_rate": lambda left: 2e-3 * left})
    rates, train = [], model.auxiliary.train

    def record(progress):
        train(progress)
        rates.append(model.auxiliary.optimizer.param_groups[0]["lr"])

    model.auxiliary.train = record
    model.learn(2 * 64)
    np.testing.assert_allclose(rates, [1e-3, 0.0])


@pytest.mark.parametrize("name", ["VIHNPolicy", "PEARLVIPolicy"])
def test_own_steps_train_encoder_and_decoders_and_nothing_else(name, make_model):
    model = make_model(name)
    model.learn(64)
    modules = {"policy": model.policy, "objective": model.auxiliary.objective}
    before = {(m, n): p.detach().clone() for m, module in modules.items() for n, p in module.named_parameters()}
    model.auxiliary.train(1.0)
    inferring = ("agent.encoder.", "agent.to_latent.", "agent.features.transition.")
    for (m, name), old in before.items():
        moved = not th.equal(dict(modules[m].named_parameters())[name], old)
        assert moved == (m == "objective" or name.startswith(inferring)), name


def test_a_trial_may_begin_in_one_training_and_end_in_the_next(make_model):
    """Trials have 8 steps: every second call completes one in each of the 4 environments."""
    model = make_model("VIPolicy", n_steps=4, batch_size=16)
    for _ in range(6):
        model.learn(4 * 4, reset_num_timesteps=False)
    assert len(model.auxiliary.trials.trials) == 3 * 4


def test_a_trial_with_steps_that_nobody_saw_is_left_out(make_model):
    class BreakOff(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 4 * 6

    model = make_model("VIPolicy", n_steps=4, batch_size=16)
    model.learn(4 * 100, BreakOff())
    assert model.num_timesteps == 4 * 6
    model.learn(4 * 12, reset_num_timesteps=False)
    lengths = {len(trial["rewards"]) for trial in model.auxiliary.trials.trials}
    assert lengths == {8} and len(model.auxiliary.trials.trials) == 4


@pytest.mark.parametrize(
    ("n_envs", "n_steps", "n_updates", "steps"),
    # Trials have 8 steps; 3 for 16 trials, rounded up, of those that end in the rollout. VariBAD: 16 side by side.
    [(16, 8, None, [3, 3]), (64, 8, None, [12, 12]), (16, 24, None, [9, 9]), (2, 5, None, [0, 1]), (16, 24, 2, [2, 2])],
)
def test_steps_follow_the_trials_unless_somebody_says_otherwise(
    n_envs, n_steps, n_updates, steps, make_envs, make_model
):
    kwargs = {"n_trials": 1, **({} if n_updates is None else {"n_updates": n_updates})}
    model = make_model(
        "VIPolicy", make_envs(n_envs=n_envs), n_steps=n_steps, batch_size=n_steps * n_envs, auxiliary_kwargs=kwargs
    )
    taken, seen, train = [], [0], model.auxiliary.train

    def record(progress):
        train(progress)
        seen.append(len(taken))

    model.auxiliary.optimizer.register_step_post_hook(lambda *_: taken.append(1))
    model.auxiliary.train = record
    model.learn(len(steps) * n_envs * n_steps)
    np.testing.assert_array_equal(np.diff(seen), steps)


@pytest.mark.parametrize("name", ["VIHNPolicy", "PEARLVIPolicy"])
def test_ppos_steps_leave_the_encoder_alone(name, make_model):
    model = make_model(name, learning_rate=1e-2)
    model.auxiliary.train = lambda progress: None
    before = {name: p.detach().clone() for name, p in model.policy.agent.named_parameters()}
    model.learn(2 * 64)
    inferring = ("encoder.", "to_latent.", "features.transition.")
    for name, parameter in model.policy.agent.named_parameters():
        assert th.equal(parameter, before[name]) == name.startswith(inferring), name
    assert "train/latent_kl" not in model.logger.name_to_value


def test_ppos_steps_reach_the_encoder_where_they_are_let_through(make_model):
    model = make_model("PEARLVIPolicy", policy_kwargs={"detach_latent": False})
    model.auxiliary.train = lambda progress: None
    before = [parameter.detach().clone() for parameter in model.policy.agent.encoder.parameters()]
    model.learn(2 * 64)
    assert not any(map(th.equal, before, model.policy.agent.encoder.parameters()))
    assert model.logger.name_to_value["train/latent_kl"] > 0


def test_variational_pearl_samples_its_product_of_factors_and_has_a_fixed_prior(make_model):
    model = make_model("PEARLVIPolicy")
    objective, agent = model.auxiliary.objective, model.policy.agent
    assert objective.prior == "fixed" and type(agent.encoder.aggregator) is AGGREGATORS["Gaussian"]
    assert model.policy.noise_dim == 6
    other = make_model("PEARLVIPolicy", auxiliary_kwargs={"prior": "previous"})
    assert other.auxiliary.objective.prior == "previous"
    model.learn(64)
    assert model.rollout_buffer.latent_noise.abs().sum() > 0
    batch = model.auxiliary._sample()
    # Every transition narrows the belief, whatever it says.
    assert (batch.log_variance.diff(dim=0) < 0)[batch.mask[1:]].all()


@pytest.mark.slow
def test_rewards_are_decoded_and_the_belief_narrows(make_envs):
    env = make_envs(n_envs=16, expose_task=False, n_episodes_per_trial=3)
    kwargs = {"n_updates": 10, "n_trials": 16}
    # The agent keeps to its first behaviour, so that the rewards stay what they are.
    settings = {"n_steps": 48, "batch_size": 192, "n_epochs": 1, "learning_rate": 0.0, "seed": 0}
    model = HyperPPO("VIPolicy", env, auxiliary_kwargs=kwargs, **settings)
    errors = []
    for n_updates in (1, 30):
        model.learn(16 * 48 * n_updates, reset_num_timesteps=False)
        errors.append(model.logger.name_to_value["auxiliary/reward_error"])
    logged = model.logger.name_to_value
    assert errors[1] < 0.8 * errors[0]
    assert logged["auxiliary/episode_3_posterior_entropy"] < logged["auxiliary/episode_1_posterior_entropy"]
