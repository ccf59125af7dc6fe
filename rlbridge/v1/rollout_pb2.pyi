from rlbridge.v1 import env_pb2 as _env_pb2
from rlbridge.v1 import values_pb2 as _values_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

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
SAMPLING_UNSPECIFIED: Sampling
SAMPLING_DETERMINISTIC: Sampling
SAMPLING_CATEGORICAL: Sampling
SAMPLING_EPSILON_GREEDY: Sampling
SAMPLING_DIAGONAL_GAUSSIAN: Sampling
SAMPLING_SQUASHED_GAUSSIAN: Sampling
SAMPLING_ADDITIVE_GAUSSIAN: Sampling
SAMPLING_ORNSTEIN_UHLENBECK: Sampling

class PutPolicyRequest(_message.Message):
    __slots__ = ("header", "data")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    header: PolicyHeader
    data: bytes
    def __init__(self, header: _Optional[_Union[PolicyHeader, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class PolicyHeader(_message.Message):
    __slots__ = ("session", "epoch", "sha256", "size_bytes", "version")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    session: _env_pb2.SessionRef
    epoch: int
    sha256: bytes
    size_bytes: int
    version: int
    def __init__(self, session: _Optional[_Union[_env_pb2.SessionRef, _Mapping]] = ..., epoch: _Optional[int] = ..., sha256: _Optional[bytes] = ..., size_bytes: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class PutPolicyResponse(_message.Message):
    __slots__ = ("version", "known")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    version: int
    known: bool
    def __init__(self, version: _Optional[int] = ..., known: bool = ...) -> None: ...

class RolloutRequest(_message.Message):
    __slots__ = ("session", "epoch", "seq", "policy_sha256", "horizon", "chunk", "sampling", "sampling_seed", "sampling_parameters", "window")
    class SamplingParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SESSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    POLICY_SHA256_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_SEED_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    session: _env_pb2.SessionRef
    epoch: int
    seq: int
    policy_sha256: bytes
    horizon: int
    chunk: int
    sampling: Sampling
    sampling_seed: int
    sampling_parameters: _containers.ScalarMap[str, float]
    window: int
    def __init__(self, session: _Optional[_Union[_env_pb2.SessionRef, _Mapping]] = ..., epoch: _Optional[int] = ..., seq: _Optional[int] = ..., policy_sha256: _Optional[bytes] = ..., horizon: _Optional[int] = ..., chunk: _Optional[int] = ..., sampling: _Optional[_Union[Sampling, str]] = ..., sampling_seed: _Optional[int] = ..., sampling_parameters: _Optional[_Mapping[str, float]] = ..., window: _Optional[int] = ...) -> None: ...

class RolloutResponse(_message.Message):
    __slots__ = ("seq", "steps", "policy_version", "observation", "action", "reward", "terminated", "truncated", "valid", "was_reset", "final_steps", "final_rows", "final_observation", "last_observation", "outputs", "infos", "error")
    class OutputsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: _values_pb2.Tensor
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_values_pb2.Tensor, _Mapping]] = ...) -> None: ...
    SEQ_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    REWARD_FIELD_NUMBER: _ClassVar[int]
    TERMINATED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    VALID_FIELD_NUMBER: _ClassVar[int]
    WAS_RESET_FIELD_NUMBER: _ClassVar[int]
    FINAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    FINAL_ROWS_FIELD_NUMBER: _ClassVar[int]
    FINAL_OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    LAST_OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    INFOS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    seq: int
    steps: int
    policy_version: int
    observation: _containers.RepeatedScalarFieldContainer[bytes]
    action: _containers.RepeatedScalarFieldContainer[bytes]
    reward: bytes
    terminated: bytes
    truncated: bytes
    valid: bytes
    was_reset: bytes
    final_steps: _containers.RepeatedScalarFieldContainer[int]
    final_rows: _containers.RepeatedScalarFieldContainer[int]
    final_observation: _containers.RepeatedScalarFieldContainer[bytes]
    last_observation: _containers.RepeatedScalarFieldContainer[bytes]
    outputs: _containers.MessageMap[str, _values_pb2.Tensor]
    infos: _containers.RepeatedCompositeFieldContainer[_values_pb2.Value]
    error: _env_pb2.Error
    def __init__(self, seq: _Optional[int] = ..., steps: _Optional[int] = ..., policy_version: _Optional[int] = ..., observation: _Optional[_Iterable[bytes]] = ..., action: _Optional[_Iterable[bytes]] = ..., reward: _Optional[bytes] = ..., terminated: _Optional[bytes] = ..., truncated: _Optional[bytes] = ..., valid: _Optional[bytes] = ..., was_reset: _Optional[bytes] = ..., final_steps: _Optional[_Iterable[int]] = ..., final_rows: _Optional[_Iterable[int]] = ..., final_observation: _Optional[_Iterable[bytes]] = ..., last_observation: _Optional[_Iterable[bytes]] = ..., outputs: _Optional[_Mapping[str, _values_pb2.Tensor]] = ..., infos: _Optional[_Iterable[_Union[_values_pb2.Value, _Mapping]]] = ..., error: _Optional[_Union[_env_pb2.Error, _Mapping]] = ...) -> None: ...
