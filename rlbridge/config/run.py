"""A whole run: all sections together."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from rlbridge.config.algorithms import AlgorithmConfig, PPOConfig, algorithm_name
from rlbridge.config.env import EnvConfig
from rlbridge.config.section import Count, Positive, Section


class NetworkConfig(Section):
    """The shape of the networks."""

    hidden: list[Count] = [64, 64]
    """Width of each hidden layer; 256, 256 for algorithms with a replay memory."""
    activation: Literal["tanh", "relu", "elu", "silu"] = "tanh"
    """What follows each hidden layer; relu for algorithms with a replay memory."""
    shared: bool = False
    """Actor and critic share their hidden layers."""


class EvaluationConfig(Section):
    """Deterministic episodes in a separate environment, while training."""

    every: int = Field(default=10_000, ge=0)
    """Transitions between two evaluations; 0 = never."""
    episodes: Count = 10
    """Episodes of one evaluation."""
    num_envs: Count | None = None
    """Environments that play them together; by default as many as train, or as there are episodes."""
    stop_at_return: float | None = Field(default=None, allow_inf_nan=False)
    """End the run once an evaluation's mean return reaches this."""


class CheckpointConfig(Section):
    """What is kept on disk while training."""

    every: int = Field(default=10_000, ge=0)
    """Transitions between two checkpoints; 0 = only at the end."""
    keep: Count = 3
    """How many of the latest checkpoints stay (best/ is always kept)."""


class RunSection(Section):
    """Where the run lives and what it may use."""

    name: str | None = Field(default=None, pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Folder name; by default made from target and algorithm, with a number."""
    dir: str = Field(default="runs", min_length=1)
    """The folder that holds run folders."""
    overwrite: bool = False
    """Delete an earlier run of the same name first."""
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    """Seeds networks, exploration and environments. Same seed, same weights."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """auto, cpu or cuda[:n]. auto is the CPU: small networks are faster there."""
    threads: Count = 1
    """Threads torch may use in this process; more rarely helps small networks."""
    max_seconds: Positive | None = None
    """End the run after this wall time, in seconds."""
    tensorboard: bool = True
    """Write TensorBoard event files."""


class RunConfig(Section):
    """One training run, whole."""

    env: EnvConfig = EnvConfig()
    """The environments."""
    algorithm: AlgorithmConfig = PPOConfig()
    """The algorithm and its settings."""
    network: NetworkConfig = NetworkConfig()
    """The networks."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Evaluation while training."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Checkpoints."""
    run: RunSection = RunSection()
    """Name, place, seed, device, limits."""

    @model_validator(mode="before")
    @classmethod
    def _network_that_suits(cls, tree: Any) -> Any:
        """Rollouts want small networks with tanh, replay wider ones with relu, unless told otherwise."""
        if not isinstance(tree, dict) or algorithm_name(tree.get("algorithm", {})) == "ppo":
            return tree
        network = tree.get("network", {})
        if not isinstance(network, dict):
            return tree
        return {**tree, "network": {"hidden": [256, 256], "activation": "relu", **network}}

    @model_validator(mode="after")
    def _rollout_has_a_spread(self) -> RunConfig:
        if isinstance(self.algorithm, PPOConfig) and self.algorithm.rollout_steps * self.env.num_envs < 2:
            raise ValueError("algorithm.rollout_steps x env.num_envs is 1; an update needs at least 2 transitions")
        return self
