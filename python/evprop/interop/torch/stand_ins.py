"""Feed-forward stand-ins for pooled group codes (Szeghy, Aslan, Fóthi, Mészáros, Milacski & Lőrincz 2022).

A network learns to give the group norms ||a_G|| of a pursuit's codes straight from the signal, in one pass and without
a solver: mean squared error to the pooled codes, and at its top a batch norm and a ReLU, for norms are at least 0.

    StandIn                   what they share: signals and codes of unit size inside
    DenseStandIn              linear layers with batch norm and ReLU; none hidden: the paper's dense, six: dense-deep
    LinearTransformerStandIn  attention that costs as much as there are tokens (Katharopoulos et al. 2020)

Sizes and the cut of a signal into tokens are not published: they are arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...errors import ParameterError, ShapeError

Floats = NDArray[np.float64]


class StandIn(nn.Module):
    """A network `norms` between numbers of unit size: s norms(x / r).

    r and s, the buffers ``signal_scale`` and ``code_scale``, are 1 until `train_stand_in` measures them. Without them
    small signals drown in the first biases, and most of the training goes into the size of what comes out.
    """

    signal_scale: Tensor
    code_scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("signal_scale", torch.ones(()))
        self.register_buffer("code_scale", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_features) to (batch, n_groups)."""
        return self.code_scale * self.norms(x / self.signal_scale)

    def norms(self, x: Tensor) -> Tensor:
        """The network itself."""
        raise NotImplementedError


class DenseStandIn(StandIn):
    """Linear layers of the widths ``hidden`` between n_features and n_groups numbers."""

    def __init__(self, n_features: int, n_groups: int, hidden: Sequence[int] = ()) -> None:
        super().__init__()
        sizes = [n_features, *hidden, n_groups]
        parts: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            parts += [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.ReLU()]
        self.layers = nn.Sequential(*parts)

    def norms(self, x: Tensor) -> Tensor:
        return self.layers(x)


class LinearTransformerStandIn(StandIn):
    """A transformer with linear attention over pieces of the signal.

    tokens  pieces of equal length that a signal is cut into; must divide n_features
    width   numbers per token inside; ``heads`` must divide it
    depth   blocks of attention and a feed-forward layer of twice the width
    """

    def __init__(
        self, n_features: int, n_groups: int, *, tokens: int, width: int, heads: int, depth: int
    ) -> None:
        super().__init__()
        if tokens < 1 or n_features % tokens:
            raise ParameterError(f"{n_features} numbers cannot be cut into {tokens} tokens of equal length.")
        if heads < 1 or width % heads:
            raise ParameterError(f"width is {width} and heads is {heads}; heads must divide width.")
        self.tokens = tokens
        self.embed = nn.Linear(n_features // tokens, width)
        self.place = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.blocks = nn.ModuleList([_Block(width, heads) for _ in range(depth)])
        self.top = nn.Sequential(nn.Linear(tokens * width, n_groups), nn.BatchNorm1d(n_groups), nn.ReLU())

    def norms(self, x: Tensor) -> Tensor:
        h = self.embed(x.reshape(len(x), self.tokens, -1)) + self.place
        for block in self.blocks:
            h = block(h)
        return self.top(h.flatten(1))


class _Block(nn.Module):
    """h + attention(norm h), then h + feed-forward(norm h); attention is phi(q) (phi(k)^T v), phi = elu + 1."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.query_key_value = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, h: Tensor) -> Tensor:
        batch, tokens, width = h.shape
        split = self.query_key_value(self.norms[0](h)).reshape(batch, tokens, 3, self.heads, -1)
        q, k, v = split.permute(2, 0, 3, 1, 4)  # each (batch, head, token, width / heads)
        q, k = nn.functional.elu(q) + 1.0, nn.functional.elu(k) + 1.0
        seen = q @ (k.transpose(-1, -2) @ v) / (q @ k.sum(dim=-2).unsqueeze(-1))
        h = h + self.join(seen.transpose(1, 2).reshape(batch, tokens, width))
        return h + self.feed(self.norms[1](h))


def train_stand_in(
    model: StandIn, x: Floats, pooled: Floats, *, epochs: int, batch_size: int, lr: float, seed: int
) -> list[float]:
    """Fit a stand-in to pooled codes (batch, n_groups) of signals (batch, n_features); returns the mean loss of each
    epoch, the mean squared error over the mean square of the codes.

    Scales of signals and codes are their root mean squares. Adam, its rate falling from ``lr`` to 0 along a cosine; the
    order of the samples comes from ``seed``. Leaves the model in evaluation mode.
    """
    if len(x) != len(pooled):
        raise ShapeError(f"x has {len(x)} samples and pooled {len(pooled)}; they must agree.")
    if epochs < 0 or batch_size < 2:
        raise ParameterError(
            f"epochs is {epochs} and batch_size {batch_size}; at least 0 and 2 (batch norm) are needed."
        )
    signals, targets = (torch.as_tensor(a, dtype=torch.float32) for a in (x, pooled))
    scales = [float(a.square().mean().sqrt()) for a in (signals, targets)]
    if not min(scales) > 0.0:
        raise ParameterError(
            f"root mean squares of x and pooled are {scales[0]:g} and {scales[1]:g}; both must be above 0."
        )
    model.signal_scale.fill_(scales[0])
    model.code_scale.fill_(scales[1])
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(epochs, 1))
    rng = np.random.default_rng(seed)
    losses = []
    model.train()
    for _ in range(epochs):
        total, seen = 0.0, 0
        order = torch.as_tensor(rng.permutation(len(x)))
        for chosen in order.split(batch_size):
            if len(chosen) < 2:  # batch norm needs two
                continue
            loss = nn.functional.mse_loss(model(signals[chosen]), targets[chosen]) / scales[1] ** 2
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total, seen = total + float(loss.detach()) * len(chosen), seen + len(chosen)
        schedule.step()
        losses.append(total / seen)
    model.eval()
    return losses


class StandInClassifier:
    """A stand-in with a linear top, as `evprop.sparse.ifgsm` attacks it.

    model         in evaluation mode
    weight, bias  (n_groups, n_classes) and (n_classes,), such as those of the `PursuitClassifier` it stands in for
    """

    def __init__(self, model: nn.Module, weight: Floats, bias: Floats) -> None:
        self.model = model
        self.weight, self.bias = (torch.as_tensor(a, dtype=torch.float32) for a in (weight, bias))

    def _scores(self, x: Tensor) -> Tensor:
        return self.model(x) @ self.weight + self.bias

    def features(self, x: Floats) -> Floats:
        """(batch, n_groups): what the stand-in gives for signals (batch, n_features)."""
        with torch.no_grad():
            found: Floats = self.model(torch.as_tensor(x, dtype=torch.float32)).double().numpy()
        return found

    def predict(self, x: Floats) -> NDArray[np.int64]:
        """(batch,): the class with the largest score, of signals (batch, n_features)."""
        with torch.no_grad():
            classes: NDArray[np.int64] = self._scores(torch.as_tensor(x, dtype=torch.float32)).argmax(1).numpy()
        return classes

    def margins(
        self, x: Floats, labels: NDArray[np.int64], *, start: None = None
    ) -> tuple[Floats, Floats, None]:
        """Margins (batch,), their derivatives with respect to the signals, and None in place of codes."""
        given = torch.as_tensor(x, dtype=torch.float32).requires_grad_()
        scores, wanted = self._scores(given), torch.as_tensor(labels, dtype=torch.int64)[:, None]
        others = scores.scatter(1, wanted, -torch.inf).amax(dim=1)
        margins = scores.gather(1, wanted)[:, 0] - others
        (slopes,) = torch.autograd.grad(margins.sum(), given)
        return margins.detach().double().numpy(), slopes.double().numpy(), None
