"""A causal Transformer over a trial, with cached keys and values, so that acting costs one query for each layer."""

from math import isfinite

import torch as th
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from typing_extensions import override

from sb3_hyper.checks import check_counts
from sb3_hyper.encoders.base import EncoderStep, SequenceEncoder, check_steps
from sb3_hyper.encoders.key_value_memory import (
    BROKEN,
    broken_steps,
    sinusoidal_encoding,
    steps_in_trial,
    window_mask,
)


class TransformerEncoder(SequenceEncoder):
    """
    A causal Transformer (Vaswani et al. 2017; as a baseline Beck et al. 2024, section 5: two layers, two heads, tokens
    of 16 numbers).

    A transition's token is W x + b plus the sinusoidal encoding of its step in the trial. Layers normalise before
    attention and before the feed-forward part (pre-norm), one more normalisation and a linear layer lead from
    ``token_dim`` to ``output_dim``. In every layer a transition attends to the last ``context_length`` transitions of
    its own trial, itself among them. A trial may be longer: it then slides out of the window, but what n layers see
    reaches back n * (context_length - 1) steps, and positions stay distinct.

    The memory is what the last transition attended to, keys and values of every layer (zeros where the trial is
    shorter), and the number of the trial's transitions so far::

        state_dim = n_layers * 2 * context_length * token_dim + 1

    From a transition that is not finite to its trial's end encodings are NaN, and the memory's number of transitions
    is 2^30. Its keys and values stay finite, because attention multiplies those of other trials by 0.

    The default holds the longest trials of the papers, 600 steps, in 38401 numbers: 154 kB for each environment, which
    every acting step copies about three times. ``HyperPPO`` keeps them only where sequences start, but sb3-contrib's
    ``RecurrentPPO`` stores one at each step, for actor and critic alike: 8 * n_steps * n_envs * state_dim bytes, 3.4 GB
    for 700 steps of 16 environments. There a ``context_length`` of the trial's length, or shorter, pays. Training on T
    steps at once builds a mask of T * (context_length - 1 + T) entries for each sequence.

    :param input_dim: width of a transition's features
    :param output_dim: width of an encoding
    :param n_layers: number of layers
    :param n_heads: number of attention heads, a divisor of ``token_dim``
    :param token_dim: width of a token; even
    :param context_length: most transitions that a transition attends to, in steps
    :raises ValueError: when one is no whole number, 1 or above, or ``token_dim`` is odd or no multiple of ``n_heads``
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int = 256,
        n_layers: int = 2,
        n_heads: int = 2,
        token_dim: int = 16,
        context_length: int = 600,
    ) -> None:
        check_counts(n_layers=n_layers, n_heads=n_heads, token_dim=token_dim, context_length=context_length)
        if token_dim % 2 or token_dim % n_heads:
            raise ValueError(
                f"{type(self).__name__} got token_dim={token_dim} and n_heads={n_heads}, wanted an even token_dim (the "
                "position is half sines, half cosines) that is a multiple of n_heads, for example 16 and 2."
            )
        super().__init__(input_dim, output_dim, n_layers * 2 * context_length * token_dim + 1)
        self.token_dim = token_dim
        self.context_length = context_length
        self.embedding = nn.Linear(input_dim, token_dim)
        self.layers = nn.ModuleList(TransformerLayer(token_dim, n_heads) for _ in range(n_layers))
        self.readout = nn.Sequential(nn.LayerNorm(token_dim), nn.Linear(token_dim, output_dim))

    @override
    def forward(self, x: th.Tensor, state: th.Tensor, resets: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        check_steps(x)
        return self._encode(x, state, steps_in_trial(state[:, -1].long(), resets))

    @override
    def make_step(self) -> EncoderStep:
        def step(x: th.Tensor, state: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
            encodings, state = self._encode(x[None], state, state[None, :, -1].long())
            return encodings[0], state

        return step

    def _encode(self, x: th.Tensor, state: th.Tensor, position: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        tokens = self.embedding(x) + sinusoidal_encoding(position, self.token_dim, x.dtype)
        # On a CPU a look at the numbers costs less than what it saves; another device would have to wait for it.
        if x.device.type == "cpu" and isfinite(tokens.sum().item()) and max(position[0].tolist(), default=0) < BROKEN:
            return self._attend(tokens, state, position)
        is_broken = broken_steps(tokens.isfinite().all(dim=-1), position)
        encodings, memory = self._attend(tokens.masked_fill(is_broken[..., None], 0.0), state, position)
        memory[:, -1].masked_fill_(is_broken[-1], BROKEN)
        return encodings.masked_fill(is_broken[..., None], th.nan), memory

    def _attend(self, tokens: th.Tensor, state: th.Tensor, position: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        # (B, state_dim) -> n_layers times (B, context_length, 2 * token_dim)
        caches = th.unflatten(state[:, :-1], 1, (len(self.layers), self.context_length, -1)).unbind(1)
        mask = window_mask(position, self.context_length)
        tokens = tokens.transpose(0, 1)
        # A trial that goes on attends to nothing but what its last transition attends to.
        remembered = mask[:, -1, -self.context_length :, None]
        memory = []
        for layer, cache in zip(self.layers, caches, strict=True):
            # The oldest of the last call's transitions has slid out of every window of this one.
            tokens, keys_values = layer(tokens, cache[:, 1:], mask)
            # A product, because ``where`` takes five times as long on a CPU.
            memory.append((keys_values[:, -self.context_length :] * remembered).flatten(1))
        memory.append(position[-1, :, None].to(state.dtype) + 1)
        return self.readout(tokens).transpose(0, 1), th.cat(memory, dim=1)


class TransformerLayer(nn.Module):
    """
    One pre-norm layer: u = x + Attention(LayerNorm(x)), y = u + W_2 relu(W_1 LayerNorm(u) + b_1) + b_2, with W_1's
    output four times as wide as a token.

    :param token_dim: width of a token
    :param n_heads: number of attention heads
    """

    def __init__(self, token_dim: int, n_heads: int) -> None:
        super().__init__()
        self.heads = (n_heads, token_dim // n_heads)
        self.norm = nn.LayerNorm(token_dim)
        self.query = nn.Linear(token_dim, token_dim)
        self.key_value = nn.Linear(token_dim, 2 * token_dim)
        self.output = nn.Linear(token_dim, token_dim)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(token_dim), nn.Linear(token_dim, 4 * token_dim), nn.ReLU(), nn.Linear(4 * token_dim, token_dim)
        )

    @override
    def forward(self, tokens: th.Tensor, before: th.Tensor, mask: th.Tensor) -> tuple[th.Tensor, th.Tensor]:
        """
        Attend from T tokens to themselves and to S - T tokens before them.

        :param tokens: ``(B, T, token_dim)``
        :param before: ``(B, S - T, 2 * token_dim)`` keys and values of the tokens before
        :param mask: ``(B, T, S)`` bool, who attends to whom
        :return: tokens ``(B, T, token_dim)``, and keys and values of all ``(B, S, 2 * token_dim)``
        """
        normalised = self.norm(tokens)
        keys_values = th.cat((before, self.key_value(normalised)), dim=1)
        # (B, T, D) -> (B, n_heads, T, D / n_heads), (B, S, 2 D) -> two of (B, n_heads, S, D / n_heads)
        query = th.unflatten(self.query(normalised), -1, self.heads).transpose(1, 2)
        key, value = th.unflatten(keys_values, -1, (2, *self.heads)).permute(2, 0, 3, 1, 4).unbind()
        read = scaled_dot_product_attention(query, key, value, mask[:, None])
        tokens = tokens + self.output(read.transpose(1, 2).flatten(2))
        return tokens + self.feed_forward(tokens), keys_values
