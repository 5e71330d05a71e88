"""TorchRL's recurrent modules, which reset their memory where ``is_init`` says so; needs ``pip install torchrl``."""

from typing import Any

import torch as th
from peer_single_file import RecurrentAgent
from tensordict import TensorDict  # type: ignore[import-not-found]
from torch import nn
from torchrl.modules import GRUModule, LSTMModule, set_recurrent_mode  # type: ignore[import-not-found]


class TorchRLAgent(RecurrentAgent):
    """One step goes through the module's sequential mode, whole sequences through its recurrent mode."""

    state_keys: tuple[str, ...]

    def encode(self, obs: th.Tensor, memory: th.Tensor, starts: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        states = dict(zip(self.state_keys, memory.chunk(self.n_states, dim=-1), strict=True))
        if len(obs) == 1:
            # (B, width) -> (B, 1 layer, width)
            parts = {key: state[:, None] for key, state in states.items()}
            step = TensorDict({"x": obs[0], "is_init": starts[0, :, None] > 0, **parts}, [len(memory)])
            output = self.rnn(step)
            return output["encoding"][None], self._memory(output["next"])
        batch_shape = [len(memory), len(obs)]
        parts = {key: _at_first_step(state, starts) for key, state in states.items()}
        is_init = starts.t()[..., None] > 0
        with set_recurrent_mode(True):
            output = self.rnn(TensorDict({"x": obs.transpose(0, 1), "is_init": is_init, **parts}, batch_shape))
        return output["encoding"].transpose(0, 1), self._memory(output["next"][:, -1])

    def _memory(self, states: Any) -> th.Tensor:
        return th.cat([states[key][:, 0] for key in self.state_keys], dim=-1)


def _at_first_step(state: th.Tensor, starts: th.Tensor) -> th.Tensor:
    """
    The states as a collector stores them, of which the module reads those where sequences and trials begin.

    ``(B, width), (T, B) -> (B, T, 1 layer, width)``
    """
    n_steps, n_sequences = starts.shape
    stored = state.new_zeros(n_sequences, n_steps, 1, state.shape[-1])
    stored[:, 0, 0] = th.where(starts[0, :, None] > 0, 0.0, state)
    return stored


class TorchRLLSTM(TorchRLAgent):
    n_states = 2
    state_keys = ("hidden", "cell")

    def make_layer(self, obs_dim: int, width: int) -> nn.Module:
        keys = [("next", key) for key in self.state_keys]
        module: nn.Module = LSTMModule(obs_dim, width, in_keys=["x", *self.state_keys], out_keys=["encoding", *keys])
        return module


class TorchRLGRU(TorchRLAgent):
    n_states = 1
    state_keys = ("hidden",)

    def make_layer(self, obs_dim: int, width: int) -> nn.Module:
        keys = [("next", key) for key in self.state_keys]
        module: nn.Module = GRUModule(obs_dim, width, in_keys=["x", *self.state_keys], out_keys=["encoding", *keys])
        return module
