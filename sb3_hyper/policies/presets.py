"""The papers' methods by name: each is HyperActorCriticPolicy with other defaults."""

from typing import ClassVar

from sb3_hyper.policies.policies import HyperActorCriticPolicy, Preset
from sb3_hyper.task_inference import BaseNetworkRegression, EmbeddingRegression, TaskRegression, VariationalObjective


class RNNPolicy(HyperActorCriticPolicy):
    """RNN (RL2, Duan et al. 2016): base networks see the GRU's latent and nothing else."""

    preset: ClassVar[Preset] = {"conditioning": "latent"}


class RNNSPolicy(HyperActorCriticPolicy):
    """RNN+S (Beck et al. 2023): base networks see the state beside the GRU's latent."""

    preset: ClassVar[Preset] = {"conditioning": "state_and_latent"}


class RNNHNPolicy(HyperActorCriticPolicy):
    """RNN+HN (Beck et al. 2023): a hypernetwork writes the base networks from the GRU's latent."""

    preset: ClassVar[Preset] = {"conditioning": "hypernetwork"}


class RNNFiLMPolicy(HyperActorCriticPolicy):
    """
    RNN+FiLM (Perez et al. 2018; Beck et al. 2022): the GRU's latent scales and shifts the base networks' activations.
    """

    preset: ClassVar[Preset] = {"conditioning": "film"}


class LSTMHNPolicy(HyperActorCriticPolicy):
    """RNN+HN with an LSTM in the GRU's place."""

    preset: ClassVar[Preset] = {"encoder": "lstm"}


class LSTMInvInitPolicy(HyperActorCriticPolicy):
    """
    RNN+HN with an LSTM that starts as an integrator of its inputs (LSTM-InvInit, a baseline of Beck et al. 2024).
    """

    preset: ClassVar[Preset] = {"encoder": "lstm_invinit"}


class LRUPolicy(HyperActorCriticPolicy):
    """RNN+HN with linear recurrent units (Orvieto et al. 2023) in the GRU's place."""

    preset: ClassVar[Preset] = {"encoder": "lru"}


class MinGRUPolicy(HyperActorCriticPolicy):
    """RNN+HN with minimal gated recurrent units (Feng et al. 2024) in the GRU's place."""

    preset: ClassVar[Preset] = {"encoder": "min_gru"}


class TransformerPolicy(HyperActorCriticPolicy):
    """
    RNN+HN with a causal Transformer in the GRU's place (a baseline of Beck et al. 2024); its memory holds the keys and
    values of the trial so far.
    """

    preset: ClassVar[Preset] = {"encoder": "transformer"}


class SplAggerPolicy(HyperActorCriticPolicy):
    """
    SplAgger (Beck et al. 2024): half of the GRU's output is kept, the other half goes through a running max;
    hypernetwork.
    """

    preset: ClassVar[Preset] = {"aggregator": "Max"}


class SplAggerMeanPolicy(HyperActorCriticPolicy):
    """SplAgger with the mean as its aggregator (ablation)."""

    preset: ClassVar[Preset] = {"aggregator": "Mean"}


class SplAggerMeanMaxPolicy(HyperActorCriticPolicy):
    """SplAgger with half mean, half max (ablation)."""

    preset: ClassVar[Preset] = {"aggregator": "MeanMax"}


class SplAggerSoftmaxPolicy(HyperActorCriticPolicy):
    """SplAgger with the soft maximum, its temperature starting at 0.1 (ablation)."""

    preset: ClassVar[Preset] = {"aggregator": "Softmax"}


class SplAggerWeightedMeanPolicy(HyperActorCriticPolicy):
    """SplAgger with a mean under learned weights (ablation)."""

    preset: ClassVar[Preset] = {"aggregator": "WeightedMean"}


class SplAggerWeightedSoftmaxPolicy(HyperActorCriticPolicy):
    """SplAgger with a mean under a softmax over time of learned logits (ablation)."""

    preset: ClassVar[Preset] = {"aggregator": "WeightedSoftmax"}


class SplAggerLRUPolicy(HyperActorCriticPolicy):
    """SplAgger on linear recurrent units (Orvieto et al. 2023)."""

    preset: ClassVar[Preset] = {"encoder": "lru", "aggregator": "Max"}


class SplAggerMinGRUPolicy(HyperActorCriticPolicy):
    """SplAgger on minimal gated recurrent units (Feng et al. 2024)."""

    preset: ClassVar[Preset] = {"encoder": "min_gru", "aggregator": "Max"}


class SplAggerNoRNNPolicy(HyperActorCriticPolicy):
    """SplAgger without recurrence: transitions are encoded one by one (ablation)."""

    preset: ClassVar[Preset] = {"encoder": "pointwise", "aggregator": "Max"}


class SplAggerNoSplitPolicy(HyperActorCriticPolicy):
    """SplAgger without the split: the whole of the GRU's output is aggregated (ablation)."""

    preset: ClassVar[Preset] = {"aggregator": "Max", "split": False}


class AMRLPolicy(HyperActorCriticPolicy):
    """
    AMRL-Max (Beck et al. 2020), with the hypernetwork of the 2024 comparison; ``conditioning="latent"`` is the
    original's.
    """

    preset: ClassVar[Preset] = {"aggregator": "Max", "straight_through": True}


class AMRLNoRNNPolicy(HyperActorCriticPolicy):
    """AMRL without recurrence (Beck et al. 2024, ablation)."""

    preset: ClassVar[Preset] = {"encoder": "pointwise", "aggregator": "Max", "straight_through": True}


class MaxPolicy(HyperActorCriticPolicy):
    """Max: each transition alone is encoded, and all of it aggregated by a running max."""

    preset: ClassVar[Preset] = {"encoder": "pointwise", "aggregator": "Max", "split": False}


class MaxSTPolicy(HyperActorCriticPolicy):
    """Max with the straight-through gradient."""

    preset: ClassVar[Preset] = {"encoder": "pointwise", "aggregator": "Max", "split": False, "straight_through": True}


class CNPPolicy(HyperActorCriticPolicy):
    """CNP (Garnelo et al. 2018): each transition alone is encoded, and the mean taken."""

    preset: ClassVar[Preset] = {"encoder": "pointwise", "aggregator": "Mean", "split": False}


class PEARLPolicy(HyperActorCriticPolicy):
    """
    PEARL (Rakelly et al. 2019), end to end (Beck et al. 2024): each transition alone gives a Gaussian factor, and the
    latent is sampled from their product.
    """

    preset: ClassVar[Preset] = {"encoder": "pointwise", "latent": "gaussian_product", "latent_dim": 12}


class SumPolicy(HyperActorCriticPolicy):
    """Each transition alone is encoded, and the encodings summed."""

    preset: ClassVar[Preset] = {"encoder": "pointwise", "aggregator": "Sum", "split": False}


class WeightedMeanPolicy(HyperActorCriticPolicy):
    """Each transition alone is encoded, and the mean taken under learned weights."""

    preset: ClassVar[Preset] = {"encoder": "pointwise", "aggregator": "WeightedMean", "split": False}


class SoftmaxPolicy(HyperActorCriticPolicy):
    """Each transition alone is encoded, and the soft maximum taken."""

    preset: ClassVar[Preset] = {"encoder": "pointwise", "aggregator": "Softmax", "split": False}


class TINaivePolicy(HyperActorCriticPolicy):
    """
    TI Naive (Beck et al. 2023): the encoder learns to say which task it is in, and nothing else; base networks see the
    state beside its latent.
    """

    preset: ClassVar[Preset] = {"conditioning": "state_and_latent", "detach_latent": True}
    auxiliary_class = TaskRegression


class TINaiveHNPolicy(HyperActorCriticPolicy):
    """TI Naive with a hypernetwork that reads the latent."""

    preset: ClassVar[Preset] = {"detach_latent": True}
    auxiliary_class = TaskRegression


class TINaiveFiLMPolicy(HyperActorCriticPolicy):
    """TI Naive whose latent scales and shifts the base networks' activations."""

    preset: ClassVar[Preset] = {"conditioning": "film", "detach_latent": True}
    auxiliary_class = TaskRegression


class TIPolicy(HyperActorCriticPolicy):
    """
    TI (Beck et al. 2023): after a multi-task warm-up the encoder learns to say the embedding of the task that was
    learned there; all but the embedding begins anew.
    """

    preset: ClassVar[Preset] = {"conditioning": "state_and_latent", "detach_latent": True}
    auxiliary_class = EmbeddingRegression
    auxiliary_preset: ClassVar[Preset] = {"reinitialize": True}


class TIPlusPlusPolicy(TIPolicy):
    """TI++ (Beck et al. 2023): TI that keeps what the warm-up has learned."""

    auxiliary_preset: ClassVar[Preset] = {"reinitialize": False}


class TIHNPolicy(HyperActorCriticPolicy):
    """TI+HN (Beck et al. 2023): TI with a hypernetwork that reads the latent."""

    preset: ClassVar[Preset] = {"detach_latent": True}
    auxiliary_class = EmbeddingRegression
    auxiliary_preset: ClassVar[Preset] = {"reinitialize": True}


class TIPlusPlusHNPolicy(TIHNPolicy):
    """TI++HN (Beck et al. 2023): TI+HN that keeps what the warm-up has learned."""

    auxiliary_preset: ClassVar[Preset] = {"reinitialize": False}


class TIPlusPlusFiLMPolicy(HyperActorCriticPolicy):
    """TI++ whose embedding scales and shifts the base networks' activations."""

    preset: ClassVar[Preset] = {"conditioning": "film", "detach_latent": True}
    auxiliary_class = EmbeddingRegression
    auxiliary_preset: ClassVar[Preset] = {"reinitialize": False}


class BIPlusPlusHNPolicy(HyperActorCriticPolicy):
    """
    BI++HN (Beck et al. 2023): as TI++HN, but the encoder learns what base networks the hypernetwork should write, not
    the embedding from which it wrote them in the warm-up.
    """

    preset: ClassVar[Preset] = {"detach_latent": True}
    auxiliary_class = BaseNetworkRegression


class VIPolicy(HyperActorCriticPolicy):
    """
    VI (VariBAD, Zintgraf et al. 2020): the encoder's belief is trained by decoders of the rewards, past and future;
    base networks see the state beside the normalised belief.
    """

    preset: ClassVar[Preset] = {
        "conditioning": "state_and_latent",
        "detach_latent": True,
        "normalize_latent": True,
    }
    auxiliary_class = VariationalObjective


class VIHNPolicy(HyperActorCriticPolicy):
    """VI+HN (Beck et al. 2022): VariBAD with a hypernetwork that reads the normalised belief."""

    preset: ClassVar[Preset] = {"detach_latent": True, "normalize_latent": True}
    auxiliary_class = VariationalObjective


class VIFiLMPolicy(HyperActorCriticPolicy):
    """VI+FiLM (Beck et al. 2022): VariBAD whose belief scales and shifts the base networks' activations."""

    preset: ClassVar[Preset] = {"conditioning": "film", "detach_latent": True, "normalize_latent": True}
    auxiliary_class = VariationalObjective


class PEARLVIPolicy(HyperActorCriticPolicy):
    """
    PEARL, variational (Rakelly et al. 2019, section 4.1): its product of Gaussian factors is trained by decoders of the
    rewards, as VariBAD's belief is, and by the divergence from N(0, I) at all times.
    """

    preset: ClassVar[Preset] = {**PEARLPolicy.preset, "detach_latent": True}
    auxiliary_class = VariationalObjective
    auxiliary_preset: ClassVar[Preset] = {"prior": "fixed"}


class MultiPolicy(HyperActorCriticPolicy):
    """The multi-task upper bound without hypernetwork: base networks see the state and an embedding of the task."""

    preset: ClassVar[Preset] = {
        "encoder_input": "task",
        "encoder": "pointwise",
        "conditioning": "state_and_latent",
    }


class MultiHNPolicy(HyperActorCriticPolicy):
    """Multi+HN (Beck et al. 2023), the multi-task upper bound: a hypernetwork reads the task itself."""

    preset: ClassVar[Preset] = {"encoder_input": "task", "encoder": "pointwise"}


class MultiFiLMPolicy(HyperActorCriticPolicy):
    """The multi-task upper bound with FiLM: the task scales and shifts the base networks' activations."""

    preset: ClassVar[Preset] = {"encoder_input": "task", "encoder": "pointwise", "conditioning": "film"}


POLICIES: dict[str, type[HyperActorCriticPolicy]] = {
    policy.__name__: policy
    for policy in (
        HyperActorCriticPolicy, RNNPolicy, RNNSPolicy, RNNHNPolicy, RNNFiLMPolicy, LSTMHNPolicy,
        LSTMInvInitPolicy, LRUPolicy, MinGRUPolicy, TransformerPolicy, SplAggerLRUPolicy, SplAggerMinGRUPolicy,
        SplAggerPolicy, SplAggerMeanPolicy, SplAggerMeanMaxPolicy, SplAggerSoftmaxPolicy, SplAggerWeightedMeanPolicy,
        SplAggerWeightedSoftmaxPolicy, SplAggerNoRNNPolicy, SplAggerNoSplitPolicy, AMRLPolicy, AMRLNoRNNPolicy,
        MaxPolicy, MaxSTPolicy, CNPPolicy, PEARLPolicy, SumPolicy, WeightedMeanPolicy, SoftmaxPolicy,
        TINaivePolicy, TINaiveHNPolicy, TINaiveFiLMPolicy, TIPolicy, TIPlusPlusPolicy, TIHNPolicy, TIPlusPlusHNPolicy,
        TIPlusPlusFiLMPolicy, BIPlusPlusHNPolicy, VIPolicy, VIHNPolicy, VIFiLMPolicy, PEARLVIPolicy,
    )
}  # fmt: skip
"""The policies by the name that HyperPPO and the zoo's YAML use."""

PRIVILEGED_POLICIES: dict[str, type[HyperActorCriticPolicy]] = {
    policy.__name__: policy for policy in (MultiPolicy, MultiHNPolicy, MultiFiLMPolicy)
}
"""Those that see the task itself, wherever they act: their environments must show it (``expose_task=True``)."""
