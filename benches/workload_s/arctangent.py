"""The surrogate gradient of Hammouamri et al.'s neurons."""

from __future__ import annotations

import math

import torch


class Spike(torch.autograd.Function):
    """Step function with the arctangent surrogate."""

    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        return grad / (1.0 + (math.pi * x).square())
