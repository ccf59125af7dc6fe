from rlbridge.v1 import spaces_pb2 as _spaces_pb2
from rlbridge.v1 import values_pb2 as _values_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AutoresetMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUTORESET_MODE_UNSPECIFIED: _ClassVar[AutoresetMode]
    AUTORESET_MODE_NEXT_STEP: _ClassVar[AutoresetMode]
    AUTORESET_MODE_SAME_STEP: _ClassVar[AutoresetMode]
    AUTORESET_MODE_DISABLED: _ClassVar[AutoresetMode]

class Sampling(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SAMPLING_UNSPECIFIED: _ClassVar[Sampling]
    SAMPLING_DETERMINISTIC: _ClassVar[Sampling]
    SAMPLING_CATEGORICAL: _ClassVar[Sampling]
    SAMPLING_EPSILON_GREEDY: _ClassVar[Sampling]
    SAMPLING_DIAGONAL_GAUSSIAN: _ClassVar[Sampling]
    SAMPLING_SQUASHED_GAUSSIAN: _ClassVar[Sampling]
    SAMPLING_ADDITIVE_GAUSSIAN: _ClassVar[Sampling]
    SAMPLING_ORNSTEIN_UHLENBECK: _ClassVar[Sampling]
    SAMPLING_UNIFORM: _ClassVar[Sampling]
AUTORESET_MODE_UNSPECIFIED: AutoresetMode
AUTORESET_MODE_NEXT_STEP: AutoresetMode
AUTORESET_MODE_SAME_STEP: AutoresetMode
AUTORESET_MODE_DISABLED: AutoresetMode
SAMPLING_UNSPECIFIED: Sampling
SAMPLING_DETERMINISTIC: Sampling
SAMPLING_CATEGORICAL: Sampling
SAMPLING_EPSILON_GREEDY: Sampling
SAMPLING_DIAGONAL_GAUSSIAN: Sampling
SAMPLING_SQUASHED_GAUSSIAN: Sampling
SAMPLING_ADDITIVE_GAUSSIAN: Sampling
SAMPLING_ORNSTEIN_UHLENBECK: Sampling
SAMPLING_UNIFORM: Sampling

class Error(_message.Message):
    __slots__ = ("code", "reason", "message", "details", "remote_traceback")
    class DetailsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    REMOTE_TRACEBACK_FIELD_NUMBER: _ClassVar[int]
    code: int
    reason: str
    message: str
    details: _containers.ScalarMap[str, str]
    remote_traceback: str
    def __init__(self, code: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., details: _Optional[_Mapping[str, str]] = ..., remote_traceback: _Optional[str] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ("protocol_versions", "client")
    PROTOCOL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    protocol_versions: _containers.RepeatedScalarFieldContainer[int]
    client: str
    def __init__(self, protocol_versions: _Optional[_Iterable[int]] = ..., client: _Optional[str] = ...) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("protocol_version", "protocol_versions", "server", "epoch", "capabilities", "limits", "environments")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENTS_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    protocol_versions: _containers.RepeatedScalarFieldContainer[int]
    server: str
    epoch: int
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    limits: Limits
    environments: _containers.RepeatedCompositeFieldContainer[EnvironmentOffer]
    def __init__(self, protocol_version: _Optional[int] = ..., protocol_versions: _Optional[_Iterable[int]] = ..., server: _Optional[str] = ..., epoch: _Optional[int] = ..., capabilities: _Optional[_Iterable[str]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., environments: _Optional[_Iterable[_Union[EnvironmentOffer, _Mapping]]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_sessions", "open_sessions", "max_envs", "max_message_bytes", "kept_outcomes", "lease_ms")
    MAX_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    OPEN_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_ENVS_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    KEPT_OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    max_sessions: int
    open_sessions: int
    max_envs: int
    max_message_bytes: int
    kept_outcomes: int
    lease_ms: int
    def __init__(self, max_sessions: _Optional[int] = ..., open_sessions: _Optional[int] = ..., max_envs: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., kept_outcomes: _Optional[int] = ..., lease_ms: _Optional[int] = ...) -> None: ...

class EnvironmentOffer(_message.Message):
    __slots__ = ("name", "summary", "render_modes", "autoreset_modes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    RENDER_MODES_FIELD_NUMBER: _ClassVar[int]
    AUTORESET_MODES_FIELD_NUMBER: _ClassVar[int]
    name: str
    summary: str
    render_modes: _containers.RepeatedScalarFieldContainer[str]
    autoreset_modes: _containers.RepeatedScalarFieldContainer[AutoresetMode]
    def __init__(self, name: _Optional[str] = ..., summary: _Optional[str] = ..., render_modes: _Optional[_Iterable[str]] = ..., autoreset_modes: _Optional[_Iterable[_Union[AutoresetMode, str]]] = ...) -> None: ...

class SpacesRequest(_message.Message):
    __slots__ = ("environment",)
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    environment: str
    def __init__(self, environment: _Optional[str] = ...) -> None: ...

class SpacesResponse(_message.Message):
    __slots__ = ("observation_space", "action_space", "observation_layout", "action_layout")
    OBSERVATION_SPACE_FIELD_NUMBER: _ClassVar[int]
    ACTION_SPACE_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_LAYOUT_FIELD_NUMBER: _ClassVar[int]
    ACTION_LAYOUT_FIELD_NUMBER: _ClassVar[int]
    observation_space: _spaces_pb2.Space
    action_space: _spaces_pb2.Space
    observation_layout: _containers.RepeatedCompositeFieldContainer[_spaces_pb2.LeafLayout]
    action_layout: _containers.RepeatedCompositeFieldContainer[_spaces_pb2.LeafLayout]
    def __init__(self, observation_space: _Optional[_Union[_spaces_pb2.Space, _Mapping]] = ..., action_space: _Optional[_Union[_spaces_pb2.Space, _Mapping]] = ..., observation_layout: _Optional[_Iterable[_Union[_spaces_pb2.LeafLayout, _Mapping]]] = ..., action_layout: _Optional[_Iterable[_Union[_spaces_pb2.LeafLayout, _Mapping]]] = ...) -> None: ...

class SessionRef(_message.Message):
    __slots__ = ("id", "token", "attachment")
    ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_FIELD_NUMBER: _ClassVar[int]
    id: str
    token: bytes
    attachment: int
    def __init__(self, id: _Optional[str] = ..., token: _Optional[bytes] = ..., attachment: _Optional[int] = ...) -> None: ...

class OpenRequest(_message.Message):
    __slots__ = ("protocol_version", "environment", "num_envs", "autoreset_mode", "render_mode", "open_key", "max_message_bytes", "infos", "lease_ms", "client")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    NUM_ENVS_FIELD_NUMBER: _ClassVar[int]
    AUTORESET_MODE_FIELD_NUMBER: _ClassVar[int]
    RENDER_MODE_FIELD_NUMBER: _ClassVar[int]
    OPEN_KEY_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    INFOS_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    environment: str
    num_envs: int
    autoreset_mode: AutoresetMode
    render_mode: str
    open_key: bytes
    max_message_bytes: int
    infos: InfoSelection
    lease_ms: int
    client: str
    def __init__(self, protocol_version: _Optional[int] = ..., environment: _Optional[str] = ..., num_envs: _Optional[int] = ..., autoreset_mode: _Optional[_Union[AutoresetMode, str]] = ..., render_mode: _Optional[str] = ..., open_key: _Optional[bytes] = ..., max_message_bytes: _Optional[int] = ..., infos: _Optional[_Union[InfoSelection, _Mapping]] = ..., lease_ms: _Optional[int] = ..., client: _Optional[str] = ...) -> None: ...

class InfoSelection(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, keys: _Optional[_Iterable[str]] = ...) -> None: ...

class OpenResponse(_message.Message):
    __slots__ = ("session", "epoch", "next_seq", "lease_ms", "kept_outcomes", "observation_space", "action_space", "observation_layout", "action_layout", "autoreset_mode", "largest_message_bytes", "metadata", "environment", "render_mode", "num_envs")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    NEXT_SEQ_FIELD_NUMBER: _ClassVar[int]
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    KEPT_OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_SPACE_FIELD_NUMBER: _ClassVar[int]
    ACTION_SPACE_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_LAYOUT_FIELD_NUMBER: _ClassVar[int]
    ACTION_LAYOUT_FIELD_NUMBER: _ClassVar[int]
    AUTORESET_MODE_FIELD_NUMBER: _ClassVar[int]
    LARGEST_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    RENDER_MODE_FIELD_NUMBER: _ClassVar[int]
    NUM_ENVS_FIELD_NUMBER: _ClassVar[int]
    session: SessionRef
    epoch: int
    next_seq: int
    lease_ms: int
    kept_outcomes: int
    observation_space: _spaces_pb2.Space
    action_space: _spaces_pb2.Space
    observation_layout: _containers.RepeatedCompositeFieldContainer[_spaces_pb2.LeafLayout]
    action_layout: _containers.RepeatedCompositeFieldContainer[_spaces_pb2.LeafLayout]
    autoreset_mode: AutoresetMode
    largest_message_bytes: int
    metadata: _values_pb2.Value
    environment: str
    render_mode: str
    num_envs: int
    def __init__(self, session: _Optional[_Union[SessionRef, _Mapping]] = ..., epoch: _Optional[int] = ..., next_seq: _Optional[int] = ..., lease_ms: _Optional[int] = ..., kept_outcomes: _Optional[int] = ..., observation_space: _Optional[_Union[_spaces_pb2.Space, _Mapping]] = ..., action_space: _Optional[_Union[_spaces_pb2.Space, _Mapping]] = ..., observation_layout: _Optional[_Iterable[_Union[_spaces_pb2.LeafLayout, _Mapping]]] = ..., action_layout: _Optional[_Iterable[_Union[_spaces_pb2.LeafLayout, _Mapping]]] = ..., autoreset_mode: _Optional[_Union[AutoresetMode, str]] = ..., largest_message_bytes: _Optional[int] = ..., metadata: _Optional[_Union[_values_pb2.Value, _Mapping]] = ..., environment: _Optional[str] = ..., render_mode: _Optional[str] = ..., num_envs: _Optional[int] = ...) -> None: ...

class ResumeRequest(_message.Message):
    __slots__ = ("session_id", "token", "epoch", "client", "holder", "attempt", "take_over")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TAKE_OVER_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    token: bytes
    epoch: int
    client: str
    holder: bytes
    attempt: int
    take_over: bool
    def __init__(self, session_id: _Optional[str] = ..., token: _Optional[bytes] = ..., epoch: _Optional[int] = ..., client: _Optional[str] = ..., holder: _Optional[bytes] = ..., attempt: _Optional[int] = ..., take_over: bool = ...) -> None: ...

class ResumeResponse(_message.Message):
    __slots__ = ("session", "oldest_kept_seq", "last_outcome")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    OLDEST_KEPT_SEQ_FIELD_NUMBER: _ClassVar[int]
    LAST_OUTCOME_FIELD_NUMBER: _ClassVar[int]
    session: OpenResponse
    oldest_kept_seq: int
    last_outcome: ExchangeResponse
    def __init__(self, session: _Optional[_Union[OpenResponse, _Mapping]] = ..., oldest_kept_seq: _Optional[int] = ..., last_outcome: _Optional[_Union[ExchangeResponse, _Mapping]] = ...) -> None: ...

class KeepAliveRequest(_message.Message):
    __slots__ = ("session", "epoch")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    session: SessionRef
    epoch: int
    def __init__(self, session: _Optional[_Union[SessionRef, _Mapping]] = ..., epoch: _Optional[int] = ...) -> None: ...

class KeepAliveResponse(_message.Message):
    __slots__ = ("lease_ms",)
    LEASE_MS_FIELD_NUMBER: _ClassVar[int]
    lease_ms: int
    def __init__(self, lease_ms: _Optional[int] = ...) -> None: ...

class CloseRequest(_message.Message):
    __slots__ = ("session", "epoch")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    session: SessionRef
    epoch: int
    def __init__(self, session: _Optional[_Union[SessionRef, _Mapping]] = ..., epoch: _Optional[int] = ...) -> None: ...

class CloseResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StepRequest(_message.Message):
    __slots__ = ("session", "seq", "epoch", "action")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    session: SessionRef
    seq: int
    epoch: int
    action: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, session: _Optional[_Union[SessionRef, _Mapping]] = ..., seq: _Optional[int] = ..., epoch: _Optional[int] = ..., action: _Optional[_Iterable[bytes]] = ...) -> None: ...

class StepResponse(_message.Message):
    __slots__ = ("seq", "replayed", "observation", "reward", "terminated", "truncated", "valid", "was_reset", "final_rows", "final_observation", "info", "env_ns", "server_ns")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    TERMINATED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    VALID_FIELD_NUMBER: _ClassVar[int]
    WAS_RESET_FIELD_NUMBER: _ClassVar[int]
    FINAL_ROWS_FIELD_NUMBER: _ClassVar[int]
    FINAL_OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    ENV_NS_FIELD_NUMBER: _ClassVar[int]
    SERVER_NS_FIELD_NUMBER: _ClassVar[int]
    seq: int
    replayed: bool
    observation: _containers.RepeatedScalarFieldContainer[bytes]
    reward: bytes
    terminated: bytes
    truncated: bytes
    valid: bytes
    was_reset: bytes
    final_rows: _containers.RepeatedScalarFieldContainer[int]
    final_observation: _containers.RepeatedScalarFieldContainer[bytes]
    info: _values_pb2.Value
    env_ns: int
    server_ns: int
    def __init__(self, seq: _Optional[int] = ..., replayed: bool = ..., observation: _Optional[_Iterable[bytes]] = ..., reward: _Optional[bytes] = ..., terminated: _Optional[bytes] = ..., truncated: _Optional[bytes] = ..., valid: _Optional[bytes] = ..., was_reset: _Optional[bytes] = ..., final_rows: _Optional[_Iterable[int]] = ..., final_observation: _Optional[_Iterable[bytes]] = ..., info: _Optional[_Union[_values_pb2.Value, _Mapping]] = ..., env_ns: _Optional[int] = ..., server_ns: _Optional[int] = ...) -> None: ...

class ResetRequest(_message.Message):
    __slots__ = ("session", "seq", "epoch", "seed", "row_seeds", "options", "reset_mask")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    ROW_SEEDS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    RESET_MASK_FIELD_NUMBER: _ClassVar[int]
    session: SessionRef
    seq: int
    epoch: int
    seed: int
    row_seeds: _containers.RepeatedCompositeFieldContainer[RowSeed]
    options: _values_pb2.Value
    reset_mask: bytes
    def __init__(self, session: _Optional[_Union[SessionRef, _Mapping]] = ..., seq: _Optional[int] = ..., epoch: _Optional[int] = ..., seed: _Optional[int] = ..., row_seeds: _Optional[_Iterable[_Union[RowSeed, _Mapping]]] = ..., options: _Optional[_Union[_values_pb2.Value, _Mapping]] = ..., reset_mask: _Optional[bytes] = ...) -> None: ...

class RowSeed(_message.Message):
    __slots__ = ("seed",)
    SEED_FIELD_NUMBER: _ClassVar[int]
    seed: int
    def __init__(self, seed: _Optional[int] = ...) -> None: ...

class ResetResponse(_message.Message):
    __slots__ = ("seq", "replayed", "observation", "info", "env_ns")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    ENV_NS_FIELD_NUMBER: _ClassVar[int]
    seq: int
    replayed: bool
    observation: _containers.RepeatedScalarFieldContainer[bytes]
    info: _values_pb2.Value
    env_ns: int
    def __init__(self, seq: _Optional[int] = ..., replayed: bool = ..., observation: _Optional[_Iterable[bytes]] = ..., info: _Optional[_Union[_values_pb2.Value, _Mapping]] = ..., env_ns: _Optional[int] = ...) -> None: ...

class RenderRequest(_message.Message):
    __slots__ = ("session", "seq", "epoch")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    session: SessionRef
    seq: int
    epoch: int
    def __init__(self, session: _Optional[_Union[SessionRef, _Mapping]] = ..., seq: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class RenderResponse(_message.Message):
    __slots__ = ("seq", "replayed", "frame")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    seq: int
    replayed: bool
    frame: _values_pb2.Value
    def __init__(self, seq: _Optional[int] = ..., replayed: bool = ..., frame: _Optional[_Union[_values_pb2.Value, _Mapping]] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("sha256", "model", "kind", "version")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    sha256: bytes
    model: bytes
    kind: str
    version: int
    def __init__(self, sha256: _Optional[bytes] = ..., model: _Optional[bytes] = ..., kind: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class RolloutRequest(_message.Message):
    __slots__ = ("session", "seq", "epoch", "policy", "steps", "sampling", "sampling_seed", "sampling_parameters", "first_step")
    class SamplingParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_SEED_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    FIRST_STEP_FIELD_NUMBER: _ClassVar[int]
    session: SessionRef
    seq: int
    epoch: int
    policy: Policy
    steps: int
    sampling: Sampling
    sampling_seed: int
    sampling_parameters: _containers.ScalarMap[str, float]
    first_step: int
    def __init__(self, session: _Optional[_Union[SessionRef, _Mapping]] = ..., seq: _Optional[int] = ..., epoch: _Optional[int] = ..., policy: _Optional[_Union[Policy, _Mapping]] = ..., steps: _Optional[int] = ..., sampling: _Optional[_Union[Sampling, str]] = ..., sampling_seed: _Optional[int] = ..., sampling_parameters: _Optional[_Mapping[str, float]] = ..., first_step: _Optional[int] = ...) -> None: ...

class RolloutResponse(_message.Message):
    __slots__ = ("seq", "replayed", "policy_version", "steps", "action", "log_prob", "error")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    LOG_PROB_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    seq: int
    replayed: bool
    policy_version: int
    steps: _containers.RepeatedCompositeFieldContainer[StepResponse]
    action: bytes
    log_prob: bytes
    error: Error
    def __init__(self, seq: _Optional[int] = ..., replayed: bool = ..., policy_version: _Optional[int] = ..., steps: _Optional[_Iterable[_Union[StepResponse, _Mapping]]] = ..., action: _Optional[bytes] = ..., log_prob: _Optional[bytes] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class ExchangeRequest(_message.Message):
    __slots__ = ("step", "reset", "render", "rollout")
    STEP_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    RENDER_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    step: StepRequest
    reset: ResetRequest
    render: RenderRequest
    rollout: RolloutRequest
    def __init__(self, step: _Optional[_Union[StepRequest, _Mapping]] = ..., reset: _Optional[_Union[ResetRequest, _Mapping]] = ..., render: _Optional[_Union[RenderRequest, _Mapping]] = ..., rollout: _Optional[_Union[RolloutRequest, _Mapping]] = ...) -> None: ...

class ExchangeResponse(_message.Message):
    __slots__ = ("step", "reset", "render", "error", "rollout", "error_seq")
    STEP_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    RENDER_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    ERROR_SEQ_FIELD_NUMBER: _ClassVar[int]
    step: StepResponse
    reset: ResetResponse
    render: RenderResponse
    error: Error
    rollout: RolloutResponse
    error_seq: int
    def __init__(self, step: _Optional[_Union[StepResponse, _Mapping]] = ..., reset: _Optional[_Union[ResetResponse, _Mapping]] = ..., render: _Optional[_Union[RenderResponse, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ..., rollout: _Optional[_Union[RolloutResponse, _Mapping]] = ..., error_seq: _Optional[int] = ...) -> None: ...
