"""Inputs for a check: drawn at random, the same ones again for the same seed."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Draw:
    """A source of seeded inputs; without a shape, one Python number.

    >>> Draw(0).integer(3, 5) in (3, 4)
    True
    >>> Draw(0).normal(2, 3).shape
    torch.Size([2, 3])
    """

    def __init__(self, seed: int):
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, dtype=torch.float32) -> Tensor | float:
        """Numbers of mean 0 and variance 1."""
        drawn = torch.randn(shape, generator=self._generator, dtype=dtype)
        return drawn if shape else drawn.item()

    def uniform(
        self, low: float, high: float, *shape: int, dtype=torch.float32
    ) -> Tensor | float:
        """Numbers between low and high."""
        unit = torch.rand(shape, generator=self._generator, dtype=dtype)
        drawn = low + (high - low) * unit
        return drawn if shape else drawn.item()

    def integer(self, low: int, high: int, *shape: int) -> Tensor | int:
        """Whole numbers from low up to, but not including, high."""
        drawn = torch.randint(low, high, shape, generator=self._generator)
        return drawn if shape else drawn.item()

    def choice(self, items: Sequence):
        """One of the items."""
        return items[self.integer(0, len(items))]
