"""A policy is one module: raw observation in, environment action out, with its statistics inside."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from rlbridge.config import AlgorithmConfig, DQNConfig, NetworkConfig, algorithms_for
from rlbridge.learn.conv import network_for
from rlbridge.learn.distributions import distribution_for
from rlbridge.learn.dueling import Dueling
from rlbridge.learn.few_rows import FewRows
from rlbridge.learn.initialiser import Initialiser
from rlbridge.learn.nets import MLP
from rlbridge.learn.normalise import Normaliser
from rlbridge.play.actions import actions_of
from rlbridge.play.encoding import Encoder, UnsupportedSpace


class Policy(nn.Module):
    """Encode -> normalise -> network -> distribution -> action in the environment's own units.

    Args:
        algorithm: what it is trained by, which says what its outputs are.
        network: hidden layers and activation; ``Policy.network`` is what they come to.
        observation_space, action_space: of a single environment.
        initialiser: draws the weights.
        seed: of the policy's own generator, which draws its actions.

    Raises:
        UnsupportedSpace: one of the spaces is of a kind that this policy cannot use.
    """

    def __init__(
        self,
        algorithm: AlgorithmConfig,
        network: NetworkConfig,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        initialiser: Initialiser,
        seed: int,
    ) -> None:
        super().__init__()
        refuse_actions(algorithm.name, action_space)
        self.encoder = Encoder(observation_space)
        self.actions = actions_of(action_space)
        self.distribution = distribution_for(algorithm.name, self.actions)
        rows = not self.encoder.image  # the convolutions scale pixels themselves
        self.normaliser = Normaliser(self.encoder.size) if algorithm.normalise_observations and rows else None
        self.network = network.shape(algorithm, self.encoder.image)
        self.trunk = network_for(self.encoder, self.network, initialiser)
        outputs = self.distribution.outputs
        # A small last layer: the first actions hardly depend on what is observed. Action values are no actions.
        gain = 1.0 if isinstance(algorithm, DQNConfig) else 0.01
        self.head: MLP | Dueling
        if isinstance(algorithm, DQNConfig) and algorithm.dueling:
            self.head = Dueling(self.trunk.size, outputs, gain, initialiser)
        else:
            self.head = MLP(self.trunk.size, [], outputs, "tanh", gain, initialiser)
        self.generator = torch.Generator().manual_seed(seed)
        self._few_rows = FewRows(self.normaliser, [self.trunk, self.head])
        self._somewhere = [next(self.parameters())]  # walking over all modules takes as long as a small layer

    def features(self, rows: Tensor) -> Tensor:
        """Encoded observations ``[B, *shape]`` -> what the last hidden layer says ``[B, hidden[-1]]``."""
        return self.trunk(self.normalised(rows))  # type: ignore[no-any-return]

    def normalised(self, rows: Tensor) -> Tensor:
        return rows if self.normaliser is None else self.normaliser(rows)

    def forward(self, rows: Tensor) -> Tensor:
        """Encoded observations ``[B, *shape]`` -> the distribution's parameters ``[B, outputs]``."""
        return self.head(self.features(rows))  # type: ignore[no-any-return]

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
        action = self.actions.to_environment(self.raw(rows, deterministic))
        return action if batched else action[0]

    def raw(self, encoded: NDArray[Any], deterministic: bool) -> NDArray[Any]:
        """Raw actions ``[B, width]`` for encoded observations ``[B, *shape]``."""
        noise = None if deterministic else self.distribution.noise(len(encoded), generator=self.generator).numpy()
        return self.draw(encoded, noise)

    def draw(self, encoded: NDArray[Any], noise: NDArray[np.float32] | None) -> NDArray[Any]:
        """Raw actions ``[B, width]`` for encoded observations ``[B, *shape]``, with ``noise`` as the distribution
        gives it; without it the likeliest. See :mod:`rlbridge.learn.few_rows` for how few rows are hurried."""
        distribution = self.distribution
        if self._few_rows.takes(len(encoded)):
            return distribution.draw(self._few_rows(encoded), noise)
        with torch.inference_mode():
            # Contiguous: a picture may come upside down, as a view that torch does not take.
            outputs = self(torch.from_numpy(np.ascontiguousarray(encoded)).to(self.device))
            if noise is None:
                return distribution.mode(outputs).cpu().numpy()
            return distribution.sample(outputs, torch.from_numpy(noise).to(self.device)).cpu().numpy()

    @property
    def device(self) -> torch.device:
        """Where the networks live."""
        return self._somewhere[0].device


def refuse_actions(algorithm: str, space: spaces.Space[Any]) -> None:
    """Raise UnsupportedSpace if ``algorithm`` cannot drive actions of ``space``; names those that can."""
    kinds = (algorithms_for(kind.__name__) for kind in type(space).__mro__)  # a subclass is driven as its base
    able = next(filter(None, kinds), [])
    if able and algorithm not in able:
        raise UnsupportedSpace(
            f"{algorithm} cannot drive {type(space).__name__} actions ({space}). These can: {', '.join(able)} "
            f"(algorithm.name={able[0]})."
        )


def weights_digest(policy: nn.Module) -> str:
    """SHA-256 over the bytes of every parameter and buffer, in the order of their names: equal means bit-identical."""
    digest = hashlib.sha256()
    for name, tensor in sorted(policy.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
    return digest.hexdigest()
