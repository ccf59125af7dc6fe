from rlbridge.v1 import env_pb2 as _env_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PutPolicyRequest(_message.Message):
    __slots__ = ("header", "data")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    header: PolicyHeader
    data: bytes
    def __init__(self, header: _Optional[_Union[PolicyHeader, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class PolicyHeader(_message.Message):
    __slots__ = ("session", "epoch", "policy", "size_bytes")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    session: _env_pb2.SessionRef
    epoch: int
    policy: _env_pb2.Policy
    size_bytes: int
    def __init__(self, session: _Optional[_Union[_env_pb2.SessionRef, _Mapping]] = ..., epoch: _Optional[int] = ..., policy: _Optional[_Union[_env_pb2.Policy, _Mapping]] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class PutPolicyResponse(_message.Message):
    __slots__ = ("known",)
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    known: bool
    def __init__(self, known: bool = ...) -> None: ...
