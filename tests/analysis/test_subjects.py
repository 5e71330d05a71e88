"""What can be analysed, and what is said about what cannot."""

from contextlib import contextmanager

import pytest
import torch as th
from torch import nn

from sb3_hyper.analysis import (
    Subject,
    Widths,
    find_policy_class,
    find_subject,
    of_encoder_class,
    of_policy,
    of_policy_class,
)
from sb3_hyper.encoders import ENCODERS, SequenceEncoder
from sb3_hyper.policies import POLICIES, PRIVILEGED_POLICIES, SplAggerPolicy


class LastTransition(SequenceEncoder):
    """An encoder of somebody else's, without memory."""

    def __init__(self, input_dim, output_dim):
        super().__init__(input_dim, output_dim, state_dim=1)
        self.linear = nn.Linear(input_dim, output_dim)

    def forward(self, x, state, resets):
        return self.linear(x), state


class WantsAnEncoder(SequenceEncoder):
    """Built around another encoder."""

    def __init__(self, encoder, depth):
        super().__init__(encoder.input_dim, depth, state_dim=1)

    def forward(self, x, state, resets):
        return x, state


class OwnPolicy(SplAggerPolicy):
    preset = {"aggregator": "Mean"}  # noqa: RUF012


@pytest.mark.parametrize("name", [*POLICIES, *ENCODERS])
def test_every_registered_name_has_the_widths_that_are_asked_for(name, narrow):
    subject = find_subject(name, narrow)
    network = subject.draw(0)
    assert subject.name == name and network.input_dim == narrow.input_dim
    assert network.encoder.output_dim > 0
    assert network(th.zeros(3, 2, narrow.input_dim)).shape == (3, 2, narrow.latent_dim)


def test_seeds_give_networks(narrow):
    first, again, other = (find_subject("SplAggerPolicy", narrow).draw(seed) for seed in (0, 0, 1))
    for a, b, c in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert th.equal(a, b) and not th.equal(a, c)


def test_the_default_widths_are_the_papers():
    network = find_subject("SplAggerPolicy").draw(0)
    assert (network.input_dim, network.encoder.output_dim, network.to_latent.out_features) == (80, 256, 24)


def test_classes_of_ones_own(narrow, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "somebody", __import__("types").SimpleNamespace(**globals()))
    encoder, policy = find_subject("somebody:LastTransition", narrow), find_subject("somebody:OwnPolicy", narrow)
    assert (encoder.name, policy.name) == ("LastTransition", "OwnPolicy")
    assert type(encoder.draw(0).encoder) is LastTransition
    assert policy.draw(0)(th.zeros(2, 1, narrow.input_dim)).shape == (2, 1, narrow.latent_dim)
    assert of_encoder_class(LastTransition, narrow, "mine").name == "mine"
    with pytest.raises(TypeError, match="somebody:nn is .* wanted a class"):
        find_subject("somebody:nn", narrow)
    with pytest.raises(TypeError, match="somebody:missing is None"):
        find_subject("somebody:missing", narrow)


def test_keyword_arguments_of_a_policy(narrow):
    network = of_policy_class(POLICIES["RNNHNPolicy"], narrow, encoder="lstm", encoder_dim=6).draw(0)
    assert network.encoder.output_dim == 6 and network.encoder.state_dim == 12


def test_a_saved_model_is_analysed_as_it_is(make_model, tmp_path):
    model = make_model("SplAggerPolicy")
    path = tmp_path / "agent.zip"
    model.save(path)
    subject = find_subject(str(path), Widths(1, 1, 1))
    network, other = subject.draw(0), subject.draw(1)
    assert network is other and subject.name == "agent, SplAggerPolicy"
    x = th.rand(5, 2, network.input_dim)
    expected = of_policy(model.policy).draw(0)(x)
    th.testing.assert_close(network(x), expected, rtol=0, atol=0)
    # The latents are those that the agent's trunk sees.
    resets = th.zeros(5, 2, dtype=th.bool)
    encodings, _ = model.policy.agent.encoder(x, model.policy.agent.encoder.initial_state(2), resets)
    th.testing.assert_close(network(x), model.policy.agent.to_latent(encodings))


def test_a_run_is_its_last_or_its_best_model(make_model, tmp_path):
    run = tmp_path / "logs" / "hyper_ppo" / "TMazeLS-v0_3"
    run.mkdir(parents=True)
    last, best = make_model("SplAggerPolicy"), make_model("RNNHNPolicy")
    last.save(run / "TMazeLS-v0.zip")
    best.save(run / "best_model.zip")
    for model, load_best in ((last, False), (best, True)):
        subject = find_subject(str(run), load_best=load_best)
        assert subject.name == f"TMazeLS-v0_3, {type(model.policy).__name__}"
        x = th.rand(5, 2, subject.draw(0).input_dim)
        th.testing.assert_close(subject.draw(0)(x), of_policy(model.policy).draw(0)(x), rtol=0, atol=0)
    with pytest.raises(FileNotFoundError, match="Found no run .*TMazeLS-v0_4; the folder holds TMazeLS-v0_3"):
        find_subject(str(run.with_name("TMazeLS-v0_4")))
    with pytest.raises(ValueError, match=r"is no run: wanted a folder LOGS/ALGO/ENV_N"):
        find_subject(str(run.parent))


@pytest.mark.parametrize("name", PRIVILEGED_POLICIES)
def test_policies_that_read_the_task_have_no_sequence(name, make_model, make_env, monkeypatch):
    class Own(PRIVILEGED_POLICIES[name]):
        preset = {"latent_dim": 5}  # noqa: RUF012

    monkeypatch.setitem(__import__("sys").modules, "somebody", __import__("types").SimpleNamespace(Own=Own))
    for text in (name, "somebody:Own"):
        with pytest.raises(ValueError, match="reads the task itself, not transitions.*RNNHNPolicy for example"):
            find_subject(text)
    with pytest.raises(ValueError, match=f"{name} reads the task itself"):
        of_policy(make_model(name, make_env(expose_task=True)).policy)


def test_a_policy_whose_latent_is_held_is_analysed_like_any_other(narrow):
    class Held(SplAggerPolicy):
        preset = {"generation": "episode"}  # noqa: RUF012

    assert of_policy_class(Held, narrow).draw(0)(th.zeros(2, 1, narrow.input_dim)).shape == (2, 1, narrow.latent_dim)


def test_encoders_that_are_built_from_something_else(narrow):
    subject = of_encoder_class(WantsAnEncoder, narrow)
    message = r"WantsAnEncoder\(6, 16\) failed: 'int' object .*built from input and output width"
    with pytest.raises(TypeError, match=message):
        subject.draw(0)


@pytest.mark.parametrize("width", Widths._fields)
def test_widths_are_positive(narrow, width):
    for name in ("gru", "RNNHNPolicy"):
        with pytest.raises(ValueError, match=f"{width}=0: wanted at least 1"):
            find_subject(name, narrow._replace(**{width: 0}))


def test_finding_a_policys_class(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "somebody", __import__("types").SimpleNamespace(**globals()))
    assert find_policy_class("somebody:OwnPolicy") is OwnPolicy
    for name, policy in {**POLICIES, **PRIVILEGED_POLICIES}.items():
        assert find_policy_class(name) is policy
    with pytest.raises(ValueError, match="Did you mean 'MultiHNPolicy'.*module:Class"):
        find_policy_class("MultiHNPolciy")
    with pytest.raises(TypeError, match="somebody:LastTransition is .*wanted a class, a HyperActorCriticPolicy"):
        find_policy_class("somebody:LastTransition")


def test_generators_of_all_devices_are_left_alone(monkeypatch):
    forked = []

    @contextmanager
    def fork(devices):
        forked.append(list(devices))
        yield

    monkeypatch.setattr(th.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(th.random, "fork_rng", fork)
    state = th.get_rng_state()
    Subject("nothing", lambda seed: nn.Identity()).draw(0)
    th.set_rng_state(state)
    assert forked == [[0, 1]]


@pytest.mark.skipif(not th.cuda.is_available(), reason="needs a GPU")
def test_cudas_random_numbers_go_on(narrow):
    before = th.cuda.get_rng_state()
    find_subject("gru", narrow).draw(0)
    assert th.equal(th.cuda.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("SplagerPolicy", ValueError, "Did you mean 'SplAggerPolicy'.*A class of your own is module:Class"),
        ("missing.zip", FileNotFoundError, "There is no model missing.zip"),
        ("nobody_has_this:Encoder", ModuleNotFoundError, "nobody_has_this"),
    ],
)
def test_unknown_names(name, error, message):
    with pytest.raises(error, match=message):
        find_subject(name)


def test_other_policies_are_refused():
    with pytest.raises(TypeError, match="wanted a HyperActorCriticPolicy"):
        of_policy(nn.Linear(1, 1))
