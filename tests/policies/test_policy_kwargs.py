"""Names, sizes and presets."""

import math
from typing import Any, ClassVar

import pytest
import torch as th
from torch import nn

from sb3_hyper.aggregators import AGGREGATORS, Max, Mean
from sb3_hyper.encoders import ENCODERS, PointwiseEncoder, TransformerEncoder
from sb3_hyper.hypernetworks import HYPER_INITIALIZERS
from sb3_hyper.hypernetworks.initializers import BASE_INITIALIZERS
from sb3_hyper.policies import POLICIES, PRIVILEGED_POLICIES, HyperActorCriticPolicy, RNNHNPolicy, SplAggerPolicy
from sb3_hyper.policies.generation import GENERATIONS
from sb3_hyper.policies.latent import LATENTS
from sb3_hyper.policies.settings import LAYER_OF_CONDITIONING, SHARINGS
from sb3_hyper.policies.sizes import SIZES, base_sizes

OTHER = {
    "conditioning": "state_and_latent",
    "encoder": "lstm",
    "aggregator": "Sum",
    "split": True,
    "straight_through": False,
    "latent": "gaussian",
    "latent_dim": 3,
    "encoder_input": "transition",
    "detach_latent": False,
    "normalize_latent": False,
}
REGISTRIES = {
    "size": SIZES,
    "encoder": ENCODERS,
    "aggregator": AGGREGATORS,
    "conditioning": LAYER_OF_CONDITIONING,
    "initializer": HYPER_INITIALIZERS,
    "base_initializer": BASE_INITIALIZERS,
    "latent": LATENTS,
    "sharing": SHARINGS,
    "generation": GENERATIONS,
}


def widths(network):
    """Widths of a base network's layers, read off the weights it generates."""
    one_hot = th.eye(network.output_layer.bias.shape[0])
    shapes = [layer.generate(one_hot)[0].shape for layer in (*network.hidden_layers, network.output_layer)]
    return [shapes[0][2], *(shape[1] for shape in shapes)]


def test_explicit_arguments_win_over_the_preset(policy_class, make_policy):
    settings = make_policy(policy_class).settings.as_kwargs()
    assert {**settings, **policy_class.preset} == settings
    explicit = {key: OTHER[key] for key in policy_class.preset}
    policy = make_policy(policy_class, **explicit)
    assert {**policy.settings.as_kwargs(), **explicit} == policy.settings.as_kwargs()
    assert type(policy) is policy_class


def test_presets_differ():
    every = {**POLICIES, **PRIVILEGED_POLICIES}.values()
    presets = [
        (policy.auxiliary_class, *sorted({**policy.preset, **policy.auxiliary_preset}.items())) for policy in every
    ]
    # RNN+HN is HyperActorCriticPolicy's default, spelt out.
    assert len(set(presets)) == len(presets)


def test_preset_of_ones_own(make_policy):
    class Mine(SplAggerPolicy):
        preset: ClassVar[dict[str, Any]] = {"aggregator": "Mean", "latent_dim": 3}

    class Derived(Mine):
        pass

    for policy in (make_policy(Mine), make_policy(Derived)):
        assert type(policy.agent.encoder.aggregator) is Mean
        assert policy.agent.to_latent.out_features == 3


@pytest.mark.parametrize("argument", REGISTRIES)
def test_every_name_of_a_registry_builds_a_policy(argument, make_policy):
    for name in REGISTRIES[argument]:
        policy = make_policy(RNNHNPolicy, **{argument: name}, normalize_latent=True)
        assert policy.settings.as_kwargs()[argument] == name


@pytest.mark.parametrize("argument", REGISTRIES)
def test_unknown_names_propose_the_nearest(argument, make_policy):
    nearest = list(REGISTRIES[argument])[-1]
    with pytest.raises(ValueError, match=f"Unknown .* '{nearest}X'.*Did you mean '{nearest}'"):
        make_policy(RNNHNPolicy, **{argument: f"{nearest}X"})


@pytest.mark.parametrize("size", SIZES)
def test_named_sizes_and_what_overrides_them(size):
    named = SIZES[size]
    assert base_sizes(size, None, None) == named
    assert base_sizes(size, [6, 5], 9) == (9, (6, 5), (6, 5))
    assert base_sizes(size, {"pi": [], "vf": [7]}, None) == (named.state_dim, (), (7,))
    assert base_sizes(size, None, 9) == (9, named.pi, named.vf)


def test_sizes_of_the_base_networks(make_policy):
    agent = make_policy(RNNHNPolicy, size="S").agent
    assert (widths(agent.actor), widths(agent.critic)) == ([128, 64, 64, 4], [128, 64, 64, 1])
    agent = make_policy(RNNHNPolicy, net_arch={"pi": [], "vf": [7, 6]}, state_dim=9).agent
    assert (widths(agent.actor), widths(agent.critic)) == ([9, 4], [9, 7, 6, 1])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"net_arch": {"pi": [8]}}, r"keys \['pi'\], wanted dict\(pi"),
        ({"net_arch": {"pi": [8], "vf": [8], "qf": [8]}}, "net_arch has the keys"),
        ({"latent_dim": 0}, "latent_dim=0, wanted at least 1"),
        ({"trunk_dims": [0]}, "trunk_dims=.*wanted a list of positive widths"),
        ({"latent_dim": 2, "normalize_latent": True}, "normalize_latent=True with latent_dim=2.*Use 3 or more"),
        ({"initializer": "HyperFanIn"}, "HyperFanIn assumes a latent of unit variance.*Pass normalize_latent=True"),
        ({"latent": "gaussian_product", "aggregator": "Max"}, "aggregates by a product of Gaussians itself"),
        ({"sharing": "hidden_layers", "net_arch": {"pi": [8], "vf": [9]}}, r"pi=\[8\] and vf=\[9\]. Use one list"),
        ({"conditioned_layers": []}, "would condition no layer"),
        ({"conditioned_layers": [0.5]}, "wanted a list of layers' numbers"),
        ({"conditioned_layers": -1}, "wanted a list of layers' numbers"),
        ({"straight_through": True}, "there is no aggregator"),
        ({"state_dim": -1}, "state_dim=-1, wanted at least 1"),
        ({"state_embedding_dim": 0}, "state_embedding_dim=0, wanted at least 1"),
        ({"encoder_dim": "8"}, "encoder_dim='8', wanted at least 1, and a whole number"),
        ({"latent_dim": 2.5}, "latent_dim=2.5, wanted at least 1, and a whole number"),
        ({"trunk_dims": [True]}, "wanted a list of positive widths"),
        ({"split": "half"}, "split='half': wanted True or False"),
        ({"normalize_latent": "False"}, "normalize_latent='False': wanted True or False"),
        ({"encoder_kwargs": 3}, "encoder_kwargs=3: wanted a mapping"),
        ({"aggregator_kwargs": ["temperature"]}, "aggregator_kwargs=.*: wanted a mapping"),
        ({"aggregator_kwargs": {"temperature": 1.0}}, "there is no aggregator. Name one"),
        ({"aggregator": "Softmax", "aggregator_kwargs": {"temperature": math.nan}}, "wanted a positive, finite number"),
        ({"initializer": "Kaiming", "conditioning": "latent"}, "with conditioning='latent' it is an input"),
        ({"initializer": "HyperFanIn", "conditioning": "state_and_latent"}, "it is an input"),
        ({"conditioned_layers": [3]}, "names the layer 3, but a base network has 3 layers"),
        ({"conditioned_layers": [-4]}, "wanted numbers from 0 to 2, or from -3 to -1"),
        ({"conditioned_layers": [0], "conditioning": "latent"}, "with conditioning='latent' it is an input"),
        ({"encoder_dim": 0}, "encoder_dim=0, wanted at least 1"),
        ({"encoder_dim": 9, "aggregator": "Max"}, "odd width 9"),
        ({"aggregator": "Gaussian", "split": True, "encoder_dim": 6}, "Gaussian reads two halves"),
        ({"aggregator": "WeightedMean", "straight_through": True}, "straight_through needs an aggregator"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, message, make_policy):
    with pytest.raises(ValueError, match=message):
        make_policy(RNNHNPolicy, **kwargs)


def test_sizes_of_the_encoders_parts(make_policy, action_case):
    agent = make_policy(SplAggerPolicy, action_case, encoder_dim=12, latent_dim=5, trunk_dims=[9, 7]).agent
    small = 16 if type(action_case[1]).__name__ == "Box" else 8
    assert agent.features.transition.output_dim == 32 + small + small + 32
    assert (agent.encoder.output_dim, agent.to_latent.out_features, agent.trunk.output_dim) == (12, 5, 7 + 1)
    kwargs = {"state_embedding_dim": 1, "action_embedding_dim": 2, "reward_embedding_dim": 3}
    assert make_policy(SplAggerPolicy, action_case, **kwargs).agent.features.transition.output_dim == 1 + 2 + 3 + 1


def test_activation_and_optimizer(make_policy):
    kwargs = {"activation_fn": nn.ReLU, "optimizer_class": th.optim.SGD, "optimizer_kwargs": {"momentum": 0.5}}
    policy = make_policy(HyperActorCriticPolicy, **kwargs)
    assert isinstance(policy.agent.actor.activation, nn.ReLU)
    assert policy.optimizer.defaults["momentum"] == 0.5
    assert make_policy(HyperActorCriticPolicy).optimizer.defaults["eps"] == 1e-5
    make_policy(HyperActorCriticPolicy, optimizer_class=th.optim.RMSprop)


def test_initial_standard_deviation(make_policy, action_case):
    policy = make_policy(RNNHNPolicy, action_case, log_std_init=-1.0)
    if type(action_case[1]).__name__ == "Box":
        assert th.equal(policy.log_std, th.full_like(policy.log_std, -1.0))
    else:
        assert not hasattr(policy, "log_std")


def test_keywords_reach_the_encoder(make_policy):
    policy = make_policy(RNNHNPolicy, encoder="transformer", encoder_kwargs={"context_length": 7, "token_dim": 4})
    assert isinstance(policy.agent.encoder, TransformerEncoder)
    assert (policy.agent.encoder.context_length, policy.agent.encoder.token_dim) == (7, 4)
    with pytest.raises(TypeError, match="'gru' got the keyword 'context_length'"):
        make_policy(RNNHNPolicy, encoder_kwargs={"context_length": 7})


def test_keywords_reach_the_aggregator(make_policy):
    policy = make_policy(SplAggerPolicy, aggregator="Softmax", aggregator_kwargs={"temperature": 2.0})
    assert float(policy.agent.encoder.aggregator.log_temperature.detach().exp()) == pytest.approx(2.0)
    with pytest.raises(TypeError, match="Max got the keyword 'temperature' in aggregator_kwargs; it takes none"):
        make_policy(SplAggerPolicy, aggregator_kwargs={"temperature": 2.0})
    with pytest.raises(TypeError, match="Softmax got the keyword 'temperatur'.*Did you mean 'temperature'"):
        make_policy(SplAggerPolicy, aggregator="Softmax", aggregator_kwargs={"temperatur": 2.0})
    with pytest.raises(TypeError, match=r"aggregator=Max\(.*wanted a subclass of Aggregator"):
        make_policy(SplAggerPolicy, aggregator=Max(4))


class Doubled(PointwiseEncoder):
    def __init__(self, input_dim, output_dim, factor=2.0):
        super().__init__(input_dim, output_dim)
        self.factor = factor

    def forward(self, x, state, resets):
        return self.factor * super().forward(x, state, resets)[0], state


def test_encoder_of_ones_own(make_policy, tmp_path):
    policy = make_policy(SplAggerPolicy, encoder=Doubled, encoder_kwargs={"factor": 3.0})
    policy.save(tmp_path / "policy")
    encoder = SplAggerPolicy.load(tmp_path / "policy").agent.encoder.encoder
    assert type(encoder) is Doubled and encoder.factor == 3.0


@pytest.mark.parametrize("encoder", [nn.GRU, nn.Identity(), 3])
def test_what_is_no_encoder(make_policy, encoder):
    with pytest.raises(TypeError, match="subclass of SequenceEncoder"):
        make_policy(RNNHNPolicy, encoder=encoder)
