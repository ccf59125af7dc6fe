"""A policy is one module: raw observation in, environment action out, with its statistics inside."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from rlbridge.config import NetworkConfig
from rlbridge.learn.distributions import distribution_for
from rlbridge.learn.encoding import Encoder
from rlbridge.learn.nets import MLP
from rlbridge.learn.normalise import Normaliser


class Policy(nn.Module):
    """Encode -> normalise -> network -> distribution -> action in the environment's own units.

    Args:
        observation_space, action_space: of a single environment.
        network: hidden layers and activation.
        normalise: keep and apply running statistics of the observations.
        initialiser: the generator that draws the weights.
        seed: of the policy's own generator, which draws its actions.

    Raises:
        UnsupportedSpace: one of the spaces is of a kind that this policy cannot use.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        network: NetworkConfig,
        normalise: bool,
        initialiser: torch.Generator,
        seed: int,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(observation_space)
        self.distribution = distribution_for(action_space)
        self.normaliser = Normaliser(self.encoder.size) if normalise else None
        self.trunk = MLP(self.encoder.size, network.hidden, 0, network.activation, 1.0, initialiser)
        # A small last layer: the first actions hardly depend on what is observed.
        self.head = MLP(self.trunk.size, [], self.distribution.outputs, "tanh", 0.01, initialiser)
        self.generator = torch.Generator().manual_seed(seed)

    def features(self, rows: Tensor) -> Tensor:
        """Encoded observations ``[B, size]`` -> what the last hidden layer says ``[B, hidden[-1]]``."""
        return self.trunk(self.normalised(rows))  # type: ignore[no-any-return]

    def normalised(self, rows: Tensor) -> Tensor:
        return rows if self.normaliser is None else self.normaliser(rows)

    def forward(self, rows: Tensor) -> Tensor:
        """Encoded observations ``[B, size]`` -> the distribution's parameters ``[B, outputs]``."""
        return self.head(self.features(rows))  # type: ignore[no-any-return]

    @torch.inference_mode()
    def act(self, observation: Any, deterministic: bool = False) -> NDArray[Any]:
        """The action for one raw observation, or actions for a batch of them (a leading axis more).

        Args:
            observation: as the environment (or vector environment) gives it.
            deterministic: take the likeliest action instead of drawing one.

        Returns:
            An action that the environment's ``step`` takes: its shape, dtype, numbering and bounds.
        """
        batched = self.encoder.is_batch(observation)
        rows = self.encoder.batch(observation) if batched else self.encoder.single(observation)[None]
        outputs = self(torch.from_numpy(rows).to(next(self.parameters()).device))
        if deterministic:
            raw = self.distribution.mode(outputs)
        else:
            noise = self.distribution.noise(len(rows), generator=self.generator).to(outputs.device)
            raw = self.distribution.sample(outputs, noise)
        action = self.distribution.to_environment(raw.cpu().numpy())
        return action if batched else action[0]


def weights_digest(policy: nn.Module) -> str:
    """SHA-256 over the bytes of every parameter and buffer, in the order of their names: equal means bit-identical."""
    digest = hashlib.sha256()
    for name, tensor in sorted(policy.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()
