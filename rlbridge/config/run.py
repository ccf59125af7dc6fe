"""A whole run: all sections together."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from rlbridge.config.algorithms import AlgorithmConfig, DQNConfig, OffPolicyConfig, PPOConfig
from rlbridge.config.env import EnvConfig
from rlbridge.config.section import Count, Positive, Section


class NetworkShape(NamedTuple):
    """The networks of a run, every setting decided: see :meth:`NetworkConfig.shape`."""

    hidden: list[int]
    activation: str
    shared: bool


class NetworkConfig(Section):
    """The shape of the networks; what is not set suits the algorithm and the observations."""

    hidden: list[Count] | None = None
    """Width of each hidden layer. By default 64, 64 for ppo; 256, 256 with a replay memory; 512 after convolutions."""
    activation: Literal["tanh", "relu", "elu", "silu"] | None = None
    """What follows each hidden layer. By default tanh for ppo; relu with a replay memory, and after convolutions."""
    shared: bool | None = None
    """Actor and critic share their hidden layers. By default only where observations are images."""

    initialisation: Literal["orthogonal", "uniform"] = "orthogonal"
    """First weights: orthogonal, biases 0; or both uniform within 1 / sqrt(inputs), as PyTorch's own layers begin."""

    def shape(self, algorithm: AlgorithmConfig, image: bool) -> NetworkShape:
        """What is set, and for the rest what suits ``algorithm`` and observations that are images, or are not."""
        if image:
            suits = NetworkShape([512], "relu", True)
        elif isinstance(algorithm, PPOConfig):
            suits = NetworkShape([64, 64], "tanh", False)
        else:
            suits = NetworkShape([256, 256], "relu", False)
        return NetworkShape(
            suits.hidden if self.hidden is None else self.hidden,
            suits.activation if self.activation is None else self.activation,
            suits.shared if self.shared is None else self.shared,
        )


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
    gif: bool = False
    """Film an episode before training and one after it: before.gif and after.gif in the run folder."""


class CheckpointConfig(Section):
    """What is kept on disk while training."""

    every: int = Field(default=10_000, ge=0)
    """Transitions between two checkpoints; 0 = only at the end."""
    keep: Count = 3
    """How many of the latest checkpoints stay (best/ is always kept)."""
    restart_episodes: bool = False
    """Begin new episodes at every checkpoint: resuming is then exact with any environment that its seed decides."""


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

    @model_validator(mode="after")
    def _rollout_has_a_spread(self) -> RunConfig:
        if isinstance(self.algorithm, PPOConfig) and self.algorithm.rollout_steps * self.env.num_envs < 2:
            raise ValueError("algorithm.rollout_steps x env.num_envs is 1; an update needs at least 2 transitions")
        return self

    @model_validator(mode="after")
    def _only_an_actor_and_a_critic_share(self) -> RunConfig:
        if self.network.shared and isinstance(self.algorithm, DQNConfig):
            raise ValueError("network.shared = true: dqn has one network, and nothing to share it with; leave it out")
        return self

    @model_validator(mode="after")
    def _a_chunk_is_of_one_policy(self) -> RunConfig:
        cfg, chunk = self.algorithm, self.env.chunk
        if isinstance(cfg, PPOConfig) and chunk is not None and chunk > cfg.rollout_steps:
            raise ValueError(
                f"env.chunk = {chunk} is longer than algorithm.rollout_steps = {cfg.rollout_steps}: updates would "
                "learn from what a policy several updates old has done"
            )
        return self

    @model_validator(mode="after")
    def _the_server_can_explore_so(self) -> RunConfig:
        cfg = self.algorithm
        if self.env.placement == "edge" and isinstance(cfg, DQNConfig) and cfg.exploration == "gaussian_epsilon":
            raise ValueError(
                "algorithm.exploration = gaussian_epsilon: with env.placement = edge there are epsilon and greedy"
            )
        return self

    @model_validator(mode="after")
    def _replay_teaches(self) -> RunConfig:
        cfg = self.algorithm
        if not isinstance(cfg, OffPolicyConfig):
            return self
        least = max(cfg.batch_size, cfg.n_step * self.env.num_envs)
        if cfg.replay_size < least:
            raise ValueError(
                f"algorithm.replay_size = {cfg.replay_size} is too small: algorithm.batch_size = {cfg.batch_size} and "
                f"algorithm.n_step = {cfg.n_step} with env.num_envs = {self.env.num_envs} need {least} or more"
            )
        if not cfg.updates_due(cfg.total_steps):
            raise ValueError(
                f"nothing would be learned: with algorithm.learning_starts = {cfg.learning_starts}, train_every = "
                f"{cfg.train_every} and updates_per_step = {cfg.updates_per_step:g} no gradient step is due until "
                f"algorithm.total_steps = {cfg.total_steps}"
            )
        for name, kind in _OF_ONE_REPLAY.items():
            value = getattr(cfg, name)
            if cfg.replay != kind and value != type(cfg).model_fields[name].default:
                raise ValueError(
                    f"algorithm.{name} = {value} has no effect with algorithm.replay = {cfg.replay}, only with {kind}"
                )
        return self


_OF_ONE_REPLAY = {"recent": "recent", "priority_exponent": "prioritised", "priority_correction": "prioritised"}
