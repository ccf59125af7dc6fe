"""What a run is, as one pydantic model tree: the YAML file, the command line, the studio's form come from it.

Importing this module is instant: it knows no torch and no transport. Every refusal is a :class:`ConfigError`
that names the path, the value and what is allowed.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Schedule = Literal["constant", "linear"]


class ConfigError(ValueError):
    """The run file or an override is not a run; the message lists every problem, one a line."""


class Section(BaseModel):
    """One mapping of the run file: unknown keys are errors, and a truth value is no number."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: Any) -> Any:
        # pydantic would read `num_envs: yes` as 1.
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError("true or false is not what belongs here")
        return value


class CredentialsConfig(Section):
    """What is shown to a server, and what must be seen of it; else RLBRIDGE_TOKEN and RLBRIDGE_TLS_* are taken."""

    token_file: str | None = None
    """A file with the bearer token."""
    tls_ca: str | None = None
    """PEM file of the authority that signed the server's certificate."""
    tls_cert: str | None = None
    """PEM file of this client's own certificate, where the server wants one."""
    tls_key: str | None = None
    """PEM file of its private key."""


class EnvConfig(Section):
    """Where the environments are, and how many of them step together."""

    target: str = Field(default="CartPole-v1", min_length=1)
    """Gymnasium id, module:factory, file.py:factory, or a URL such as grpc://host:50051[/env]."""
    num_envs: Count = 8
    """How many copies step together as one batch."""
    placement: Literal["step", "edge"] = "step"
    """Where the policy runs: step = here, one message a step; edge = on the server (not available yet)."""
    kwargs: dict[str, Any] = {}
    """Keyword arguments for a local target's factory."""
    timeout: Positive = 60.0
    """Remote: seconds allowed for one attempt at a call."""
    retry_for: NotNegative = 120.0
    """Remote: seconds during which an unanswered call is attempted again; 0 = not at all."""
    credentials: CredentialsConfig = CredentialsConfig()
    """Remote: token and TLS."""

    def client_options(self) -> dict[str, Any]:
        """What `make_vec` takes beside the target: the connection's options, or the local factory's arguments."""
        if "://" not in self.target:
            return self.kwargs
        credentials = self.credentials.model_dump()
        return {"timeout": self.timeout, "retry_for": self.retry_for, "credentials": credentials}

    @field_validator("target", mode="before")
    @classmethod
    def _one_target(cls, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            raise ValueError("a fleet (a list of targets) is not available yet; give one target")
        return value

    @field_validator("placement")
    @classmethod
    def _no_edge_yet(cls, value: str) -> str:
        if value == "edge":
            raise ValueError("running the policy on the server is not available yet; use 'step'")
        return value

    @model_validator(mode="after")
    def _kwargs_are_local(self) -> EnvConfig:
        if self.kwargs and "://" in self.target:
            raise ValueError(f"env.kwargs go to a local factory, but {self.target!r} is on a server; set them there")
        return self


class PPOConfig(Section):
    """Proximal policy optimisation (Schulman et al. 2017), for discrete and continuous actions."""

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


# One class now. With the second: Annotated[PPOConfig | DQNConfig, Field(discriminator="name")].
AlgorithmConfig = PPOConfig


class NetworkConfig(Section):
    """The shape of the networks."""

    hidden: list[Count] = [64, 64]
    """Width of each hidden layer."""
    activation: Literal["tanh", "relu", "elu", "silu"] = "tanh"
    """What follows each hidden layer."""
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

    @model_validator(mode="after")
    def _rollout_has_a_spread(self) -> RunConfig:
        if self.algorithm.rollout_steps * self.env.num_envs < 2:
            raise ValueError("algorithm.rollout_steps x env.num_envs is 1; an update needs at least 2 transitions")
        return self


def load_config(
    source: str | Path | Mapping[str, Any] | RunConfig | None = None, overrides: Sequence[str] = ()
) -> RunConfig:
    """Read, merge and validate one run.

    Args:
        source: a YAML file's path, a nested mapping, a RunConfig, or None for the defaults.
        overrides: ``section.key=value`` each, merged before validation; values are YAML, ``1e-3`` a number.

    Raises:
        ConfigError: with every problem found, each with its path, value and what is allowed.
    """
    if isinstance(source, RunConfig):
        tree: Any = source.model_dump()
    elif isinstance(source, (str, Path)):
        tree = _parse_yaml(_read(Path(source)), str(source))
    else:
        tree = source
    if tree is not None and not isinstance(tree, Mapping):
        raise ConfigError(
            f"{source}: a run is a mapping of sections ({', '.join(RunConfig.model_fields)}), not {tree!r}."
        )
    merged = _copy(tree or {})
    for override in overrides:
        _merge_override(merged, override)
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        origin = str(source) if isinstance(source, (str, Path)) else "the run's settings"
        problems = [_explain(problem) for problem in error.errors(include_url=False)]
        raise ConfigError("\n  ".join([f"{origin}: {len(problems)} problem(s)", *problems])) from None


def dump_config(config: RunConfig) -> str:
    """The resolved run as YAML; :func:`load_config` reads it back to an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a run file."""
    return RunConfig.model_json_schema()


class _Loader(yaml.SafeLoader):
    """YAML 1.2's idea of a number (1.1 reads ``1e-3`` as text), and no silent second value for a key."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _parse_yaml(text: str, origin: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin} is not YAML: {' '.join(str(error).split())}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the run file {str(path)!r}: {error}") from None


def _copy(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in tree.items()}


def _merge_override(tree: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"the override {override!r} is not of the form section.key=value.")
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"the override {override!r} goes through {key!r}, which is no section but {tree!r}.")
    value = _parse_yaml(text, f"the value of the override {override!r}")
    tree[keys[-1]] = _copy(value) if isinstance(value, Mapping) else value


def _explain(problem: Any) -> str:
    path = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown key {path!r} = {_short(problem['input'])}; {_nearest(problem['loc'])}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{path} = {_short(problem['input'])}: {message}" if path else message


def _short(value: Any) -> str:
    text = json.dumps(value, default=repr)
    return text if len(text) <= 80 else text[:77] + "..."


def _nearest(location: tuple[int | str, ...]) -> str:
    *parents, last = (str(part) for part in location)
    here = RunConfig.model_fields if not parents else _sections()[parents[0]].model_fields
    close = difflib.get_close_matches(last, here, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    elsewhere = [f"{name}.{last}" for name, section in _sections().items() if last in section.model_fields]
    if elsewhere:
        return f"did you mean {elsewhere[0]!r}?"
    return f"known here: {', '.join(here)}."


def _sections() -> dict[str, Any]:
    return {name: field.annotation for name, field in RunConfig.model_fields.items()}
