"""What a run is, as one pydantic model tree: the YAML file, the command line, the studio's form come from it.

Importing this package is instant: it knows no torch and no transport. Every refusal is a :class:`ConfigError`
that names the path, the value and what is allowed.
"""

from rlbridge.config.algorithms import (
    ALGORITHMS,
    AlgorithmConfig,
    DDPGConfig,
    DQNConfig,
    NoiseConfig,
    OffPolicyConfig,
    PPOConfig,
    SACConfig,
    TD3Config,
    algorithms_for,
)
from rlbridge.config.env import CredentialsConfig, EnvConfig
from rlbridge.config.load import ConfigError, dump_config, json_schema, load_config, parse_config
from rlbridge.config.run import CheckpointConfig, EvaluationConfig, NetworkConfig, NetworkShape, RunConfig, RunSection

__all__ = [
    "ALGORITHMS",
    "AlgorithmConfig",
    "CheckpointConfig",
    "ConfigError",
    "CredentialsConfig",
    "DDPGConfig",
    "DQNConfig",
    "EnvConfig",
    "EvaluationConfig",
    "NetworkConfig",
    "NetworkShape",
    "NoiseConfig",
    "OffPolicyConfig",
    "PPOConfig",
    "RunConfig",
    "RunSection",
    "SACConfig",
    "TD3Config",
    "algorithms_for",
    "dump_config",
    "json_schema",
    "load_config",
    "parse_config",
]
