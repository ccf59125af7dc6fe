"""The dueling head of a Q-network (Wang et al. 2016)."""

from __future__ import annotations

from torch import Tensor, nn

from rlbridge.learn.initialiser import Initialiser
from rlbridge.learn.nets import MLP


class Dueling(nn.Module):
    """``[B, inputs]`` features -> ``[B, n]`` action values: the state's value plus each action's advantage.

    Advantages are counted from their mean (equation 9), which makes the two streams identifiable.
    """

    def __init__(self, inputs: int, n: int, gain: float, initialiser: Initialiser) -> None:
        super().__init__()
        self.streams = MLP(inputs, [], 1 + n, "relu", gain, initialiser)
        self.size = n

    def forward(self, features: Tensor) -> Tensor:
        both = self.streams(features)
        value, advantage = both[:, :1], both[:, 1:]
        return value + advantage - advantage.mean(-1, keepdim=True)  # type: ignore[no-any-return]
