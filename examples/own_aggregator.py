"""
An aggregator of your own: four methods, and every policy, scan, checkpoint and command line takes it.

The span of all that was seen: how far apart the largest and the smallest value of each feature are (0 counts as seen).
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch as th
from stable_baselines3.common.env_util import make_vec_env

from sb3_hyper import HyperPPO
from sb3_hyper.aggregators import Aggregator
from sb3_hyper.envs import batched_vec_env
from sb3_hyper.evaluation import evaluate_adaptation
from sb3_hyper.scan import scan, scan_reference

th.set_num_threads(1)
th.manual_seed(0)


class Span(Aggregator):
    """State (max(x, 0), max(-x, 0)), combine max, readout their sum. All zeros is the trial before its first step."""

    # Without this the scan uses combine and nothing else.
    trusts_parts = True

    def __init__(self, input_dim: int) -> None:
        super().__init__(input_dim)
        # All of the state accumulates by a maximum from 0, which has a fast scan. ("associative", width) always works.
        self.parts = (("max", 2 * input_dim),)

    def lift(self, encoding: th.Tensor) -> th.Tensor:
        return th.cat((encoding, -encoding), dim=-1).clamp(min=0.0)

    def combine(self, first: th.Tensor, second: th.Tensor) -> th.Tensor:
        return th.maximum(first, second)

    def readout(self, state: th.Tensor) -> th.Tensor:
        largest, smallest = state.chunk(2, dim=-1)
        return largest + smallest


# The laws of a commutative monoid, on random states.
span = Span(8)
a, b, c = span.lift(th.randn(3, 100, 8))
assert span.combine(span.identity(100), a).equal(a), "identity"
assert span.combine(a, b).equal(span.combine(b, a)), "commutative"
assert span.combine(span.combine(a, b), c).equal(span.combine(a, span.combine(b, c))), "associative"

# The scan over sequences in which trials start now and then, against its definition.
lifted, resets = span.lift(th.randn(50, 4, 8)), th.rand(50, 4) < 0.1
arguments = (span, lifted, span.identity(4), resets)
assert th.allclose(scan(*arguments), scan_reference(*arguments))
print("Span is a commutative monoid, and its scan is right.\n")

# In SplAgger's place for the maximum.
corridor = {"corridor_length": 10}
env = make_vec_env("TMazeLS-v0", n_envs=16, seed=0, env_kwargs=corridor, vec_env_cls=batched_vec_env)
model = HyperPPO(
    "SplAggerPolicy",
    env,
    learning_rate=5e-4,
    n_steps=80,
    batch_size=4 * 80,
    n_epochs=2,
    clip_range=0.1,
    ent_coef=0.01,
    policy_kwargs={"aggregator": Span, "size": "XS", "encoder_dim": 64},
    seed=0,
    device="cpu",
)
print(model.policy.agent.encoder.aggregator)
model.learn(30_000)
before = evaluate_adaptation(model, env, seed=1)
print(before.table())

# The class is saved with the model.
with TemporaryDirectory() as folder:
    model.save(Path(folder) / "span")
    loaded = HyperPPO.load(Path(folder) / "span", device="cpu")
after = evaluate_adaptation(loaded, env, seed=1)
assert np.array_equal(before.returns, after.returns)
print("\nSaved and loaded, it plays the same.")
