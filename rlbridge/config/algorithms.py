"""The ``algorithm`` section: one class an algorithm, chosen by ``name``."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from rlbridge.config.section import Count, Fraction, NotNegative, Positive, Schedule, Section


class PPOConfig(Section):
    """Proximal policy optimisation (Schulman et al. 2017), for discrete and continuous actions."""

    actions: ClassVar[tuple[str, ...]] = ("Box", "Discrete", "MultiDiscrete", "MultiBinary")

    name: Literal["ppo"] = "ppo"
    """The algorithm."""
    total_steps: Count = 100_000
    """Train on at least this many transitions, all environments together."""
    rollout_steps: Count = 128
    """Steps of each environment between two updates."""
    epochs: Count = 10
    """Passes over a rollout in one update."""
    minibatch_size: Count = 256
    """Transitions in one gradient step; never more than a rollout holds."""
    learning_rate: Positive = 0.001
    """Adam's step size, at the start."""
    learning_rate_schedule: Schedule = "linear"
    """constant, or linear to zero at total_steps."""
    gamma: Fraction = 0.99
    """Discount of a reward one step later."""
    gae_lambda: Fraction = 0.95
    """Trace decay of generalised advantage estimation: 0 = one step, 1 = whole return."""
    clip_range: Positive = 0.2
    """How far the probability ratio may move from 1 before its gradient stops."""
    clip_range_schedule: Schedule = "constant"
    """constant, or linear to zero at total_steps."""
    clip_value: bool = False
    """Clip the value's move by clip_range too."""
    entropy_coefficient: NotNegative = 0.0
    """Weight of the entropy bonus."""
    value_coefficient: NotNegative = 0.5
    """Weight of the value loss."""
    max_gradient_norm: Positive = 0.5
    """Gradients longer than this are scaled down to it."""
    target_kl: Positive | None = None
    """End an update's epochs once the approximate KL divergence is above this."""
    normalise_advantage: bool = True
    """Shift and scale advantages to mean 0, deviation 1 in each minibatch."""
    normalise_observations: bool = True
    """Shift and scale observations by their running mean and deviation."""
    normalise_rewards: bool = True
    """Divide rewards by the running deviation of the discounted return (reports stay raw)."""


class OffPolicyConfig(Section):
    """What all algorithms with a replay memory have in common."""

    actions: ClassVar[tuple[str, ...]] = ("Box",)

    total_steps: Count = 100_000
    """Train on at least this many transitions, all environments together."""
    learning_starts: int = Field(default=1_000, ge=0)
    """Transitions with random actions before the first gradient step."""
    train_every: Count = 1
    """Transitions between two bouts of gradient steps."""
    updates_per_step: Positive = 1.0
    """Gradient steps per transition, on average: more environments do not change it."""
    batch_size: Count = 256
    """Transitions in one gradient step."""
    learning_rate: Positive = 0.001
    """Adam's step size, at the start."""
    learning_rate_schedule: Schedule = "constant"
    """constant, or linear to zero at total_steps."""
    gamma: Fraction = 0.99
    """Discount of a reward one step later."""
    tau: Fraction = 0.005
    """How far target networks move towards the learned ones at each update; 1 = copy."""
    max_gradient_norm: Positive | None = None
    """Gradients longer than this are scaled down to it."""
    normalise_observations: bool = False
    """Shift and scale observations by their running mean and deviation."""
    n_step: Count = 1
    """Rewards summed before the value of what followed is used; never across an episode's end."""
    replay: Literal["uniform", "recent", "prioritised"] = "uniform"
    """Which transitions are drawn: any alike, only the latest, or those with large errors more often."""
    replay_size: Count = 100_000
    """Transitions kept, all environments together; the oldest go first."""
    recent: Count = 10_000
    """replay=recent: draw among this many of the latest transitions."""
    priority_exponent: Fraction = 0.6
    """replay=prioritised: 0 draws uniformly, 1 in proportion to the error (alpha of Schaul et al. 2016)."""
    priority_correction: Fraction = 0.4
    """replay=prioritised: importance weights at the start; rises to 1 at total_steps (beta of Schaul et al. 2016)."""

    def updates_due(self, steps: int) -> int:
        """Gradient steps that should have been made after ``steps`` transitions."""
        past = max(steps - self.learning_starts, 0)
        return int(past // self.train_every * self.train_every * self.updates_per_step)


class DQNConfig(OffPolicyConfig):
    """Deep Q-learning (Mnih et al. 2015): discrete actions. double, dueling, prioritised and n-step make it D3QN."""

    actions: ClassVar[tuple[str, ...]] = ("Discrete",)

    name: Literal["dqn"] = "dqn"
    """The algorithm."""
    n_step: Count = 5
    """Rewards summed before the value of what followed is used; never across an episode's end."""
    learning_rate_schedule: Schedule = "linear"
    """constant, or linear to zero at total_steps."""
    target_every: Count = 1
    """Gradient steps between two moves of the target network."""
    double: bool = True
    """Choose the best next action by the learned network, value it by the target (van Hasselt et al. 2016)."""
    dueling: bool = False
    """One stream for the state's value, one for the actions' advantages (Wang et al. 2016)."""
    exploration: Literal["epsilon", "gaussian_epsilon", "greedy"] = "epsilon"
    """Each environment tosses a coin of its own; gaussian_epsilon draws every coin's epsilon around the mean."""
    epsilon_start: Fraction = 1.0
    """Probability of a random action at the start."""
    epsilon_end: Fraction = 0.05
    """Probability of a random action in the end."""
    epsilon_fraction: Fraction = 0.2
    """Part of total_steps over which epsilon falls."""
    epsilon_schedule: Literal["linear", "exponential"] = "linear"
    """How it falls."""
    epsilon_deviation: Fraction = 0.1
    """exploration=gaussian_epsilon: spread of epsilon, cut off at 0 and 1."""


class NoiseConfig(OffPolicyConfig):
    """What algorithms with a deterministic policy have in common."""

    noise: Literal["gaussian", "ornstein_uhlenbeck", "none"] = "gaussian"
    """What is added to actions while training: fresh at each step, or a walk that reverts to zero."""
    noise_std: NotNegative = 0.1
    """Its deviation; 1 is half an action's range."""
    noise_theta: Fraction = 0.15
    """noise=ornstein_uhlenbeck: how much of it is forgotten at each step."""


class DDPGConfig(NoiseConfig):
    """Deep deterministic policy gradient (Lillicrap et al. 2016): continuous, bounded actions."""

    name: Literal["ddpg"] = "ddpg"
    """The algorithm."""
    target_every: Count = 1
    """Gradient steps between two moves of the target networks."""


class TD3Config(NoiseConfig):
    """Twin delayed DDPG (Fujimoto et al. 2018): continuous, bounded actions."""

    name: Literal["td3"] = "td3"
    """The algorithm."""
    policy_delay: Count = 2
    """Critic updates between two updates of the policy and the targets."""
    target_noise: NotNegative = 0.2
    """Deviation of the noise on target actions; 1 is half an action's range."""
    target_noise_clip: NotNegative = 0.5
    """That noise is limited to this."""


class SACConfig(OffPolicyConfig):
    """Soft actor-critic with a learned temperature (Haarnoja et al. 2018): continuous, bounded actions."""

    name: Literal["sac"] = "sac"
    """The algorithm."""
    target_every: Count = 1
    """Gradient steps between two moves of the target networks."""
    temperature: Positive | None = None
    """Weight of the entropy; by default learned."""
    initial_temperature: Positive = 1.0
    """Where a learned temperature begins."""
    target_entropy: float | None = Field(default=None, allow_inf_nan=False)
    """What the learned temperature aims at, in nats; by default minus the number of action dimensions."""
    modified: bool = False
    """ModSAC: update the policy less often while the critics are still wrong."""


def algorithm_name(algorithm: Any) -> Any:
    """Which class is meant: by ``name``, ppo unless told."""
    if not isinstance(algorithm, dict):
        return getattr(algorithm, "name", None)
    return algorithm.get("name", "ppo")


AlgorithmConfig = Annotated[
    Annotated[PPOConfig, Tag("ppo")]
    | Annotated[DQNConfig, Tag("dqn")]
    | Annotated[DDPGConfig, Tag("ddpg")]
    | Annotated[TD3Config, Tag("td3")]
    | Annotated[SACConfig, Tag("sac")],
    Discriminator(algorithm_name),
]

ALGORITHMS: dict[str, type[PPOConfig] | type[OffPolicyConfig]] = {
    "ppo": PPOConfig,
    "dqn": DQNConfig,
    "ddpg": DDPGConfig,
    "td3": TD3Config,
    "sac": SACConfig,
}
"""The same by name, for those who explain what may be written."""


def algorithms_for(action_space: str) -> list[str]:
    """The names of the algorithms that can drive actions of a space class, such as Box or Discrete."""
    return [name for name, config in ALGORITHMS.items() if action_space in config.actions]
