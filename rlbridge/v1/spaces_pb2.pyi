from rlbridge.v1 import values_pb2 as _values_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Space(_message.Message):
    __slots__ = ("box", "discrete", "multi_discrete", "multi_binary", "text", "tuple", "dict", "sequence", "graph", "one_of")
    BOX_FIELD_NUMBER: _ClassVar[int]
    DISCRETE_FIELD_NUMBER: _ClassVar[int]
    MULTI_DISCRETE_FIELD_NUMBER: _ClassVar[int]
    MULTI_BINARY_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TUPLE_FIELD_NUMBER: _ClassVar[int]
    DICT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    ONE_OF_FIELD_NUMBER: _ClassVar[int]
    box: BoxSpace
    discrete: DiscreteSpace
    multi_discrete: MultiDiscreteSpace
    multi_binary: MultiBinarySpace
    text: TextSpace
    tuple: TupleSpace
    dict: DictSpace
    sequence: SequenceSpace
    graph: GraphSpace
    one_of: OneOfSpace
    def __init__(self, box: _Optional[_Union[BoxSpace, _Mapping]] = ..., discrete: _Optional[_Union[DiscreteSpace, _Mapping]] = ..., multi_discrete: _Optional[_Union[MultiDiscreteSpace, _Mapping]] = ..., multi_binary: _Optional[_Union[MultiBinarySpace, _Mapping]] = ..., text: _Optional[_Union[TextSpace, _Mapping]] = ..., tuple: _Optional[_Union[TupleSpace, _Mapping]] = ..., dict: _Optional[_Union[DictSpace, _Mapping]] = ..., sequence: _Optional[_Union[SequenceSpace, _Mapping]] = ..., graph: _Optional[_Union[GraphSpace, _Mapping]] = ..., one_of: _Optional[_Union[OneOfSpace, _Mapping]] = ...) -> None: ...

class BoxSpace(_message.Message):
    __slots__ = ("data_type", "shape", "low", "high", "bounded_below", "bounded_above")
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    BOUNDED_BELOW_FIELD_NUMBER: _ClassVar[int]
    BOUNDED_ABOVE_FIELD_NUMBER: _ClassVar[int]
    data_type: _values_pb2.DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    low: bytes
    high: bytes
    bounded_below: bytes
    bounded_above: bytes
    def __init__(self, data_type: _Optional[_Union[_values_pb2.DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., low: _Optional[bytes] = ..., high: _Optional[bytes] = ..., bounded_below: _Optional[bytes] = ..., bounded_above: _Optional[bytes] = ...) -> None: ...

class DiscreteSpace(_message.Message):
    __slots__ = ("data_type", "n", "start")
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    data_type: _values_pb2.DataType
    n: int
    start: int
    def __init__(self, data_type: _Optional[_Union[_values_pb2.DataType, str]] = ..., n: _Optional[int] = ..., start: _Optional[int] = ...) -> None: ...

class MultiDiscreteSpace(_message.Message):
    __slots__ = ("nvec", "start")
    NVEC_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    nvec: _values_pb2.Tensor
    start: _values_pb2.Tensor
    def __init__(self, nvec: _Optional[_Union[_values_pb2.Tensor, _Mapping]] = ..., start: _Optional[_Union[_values_pb2.Tensor, _Mapping]] = ...) -> None: ...

class MultiBinarySpace(_message.Message):
    __slots__ = ("shape", "flat")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    FLAT_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    flat: bool
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., flat: bool = ...) -> None: ...

class TextSpace(_message.Message):
    __slots__ = ("min_length", "max_length", "characters")
    MIN_LENGTH_FIELD_NUMBER: _ClassVar[int]
    MAX_LENGTH_FIELD_NUMBER: _ClassVar[int]
    CHARACTERS_FIELD_NUMBER: _ClassVar[int]
    min_length: int
    max_length: int
    characters: str
    def __init__(self, min_length: _Optional[int] = ..., max_length: _Optional[int] = ..., characters: _Optional[str] = ...) -> None: ...

class TupleSpace(_message.Message):
    __slots__ = ("spaces",)
    SPACES_FIELD_NUMBER: _ClassVar[int]
    spaces: _containers.RepeatedCompositeFieldContainer[Space]
    def __init__(self, spaces: _Optional[_Iterable[_Union[Space, _Mapping]]] = ...) -> None: ...

class DictSpace(_message.Message):
    __slots__ = ("entries", "unsorted")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    UNSORTED_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[DictEntry]
    unsorted: bool
    def __init__(self, entries: _Optional[_Iterable[_Union[DictEntry, _Mapping]]] = ..., unsorted: bool = ...) -> None: ...

class DictEntry(_message.Message):
    __slots__ = ("name", "number", "space")
    NAME_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    name: str
    number: int
    space: Space
    def __init__(self, name: _Optional[str] = ..., number: _Optional[int] = ..., space: _Optional[_Union[Space, _Mapping]] = ...) -> None: ...

class SequenceSpace(_message.Message):
    __slots__ = ("feature_space", "stack")
    FEATURE_SPACE_FIELD_NUMBER: _ClassVar[int]
    STACK_FIELD_NUMBER: _ClassVar[int]
    feature_space: Space
    stack: bool
    def __init__(self, feature_space: _Optional[_Union[Space, _Mapping]] = ..., stack: bool = ...) -> None: ...

class GraphSpace(_message.Message):
    __slots__ = ("node_space", "edge_space")
    NODE_SPACE_FIELD_NUMBER: _ClassVar[int]
    EDGE_SPACE_FIELD_NUMBER: _ClassVar[int]
    node_space: Space
    edge_space: Space
    def __init__(self, node_space: _Optional[_Union[Space, _Mapping]] = ..., edge_space: _Optional[_Union[Space, _Mapping]] = ...) -> None: ...

class OneOfSpace(_message.Message):
    __slots__ = ("spaces",)
    SPACES_FIELD_NUMBER: _ClassVar[int]
    spaces: _containers.RepeatedCompositeFieldContainer[Space]
    def __init__(self, spaces: _Optional[_Iterable[_Union[Space, _Mapping]]] = ...) -> None: ...

class LeafLayout(_message.Message):
    __slots__ = ("path", "variable", "data_type", "shape")
    PATH_FIELD_NUMBER: _ClassVar[int]
    VARIABLE_FIELD_NUMBER: _ClassVar[int]
    DATA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    path: str
    variable: bool
    data_type: _values_pb2.DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, path: _Optional[str] = ..., variable: bool = ..., data_type: _Optional[_Union[_values_pb2.DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ...) -> None: ...

class SampleBatch(_message.Message):
    __slots__ = ("samples",)
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    samples: _containers.RepeatedCompositeFieldContainer[Sample]
    def __init__(self, samples: _Optional[_Iterable[_Union[Sample, _Mapping]]] = ...) -> None: ...

class Sample(_message.Message):
    __slots__ = ("tensor", "text", "items", "graph", "one_of", "stacked")
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    GRAPH_FIELD_NUMBER: _ClassVar[int]
    ONE_OF_FIELD_NUMBER: _ClassVar[int]
    STACKED_FIELD_NUMBER: _ClassVar[int]
    tensor: _values_pb2.Tensor
    text: str
    items: SampleBatch
    graph: GraphSample
    one_of: OneOfSample
    stacked: StackedSample
    def __init__(self, tensor: _Optional[_Union[_values_pb2.Tensor, _Mapping]] = ..., text: _Optional[str] = ..., items: _Optional[_Union[SampleBatch, _Mapping]] = ..., graph: _Optional[_Union[GraphSample, _Mapping]] = ..., one_of: _Optional[_Union[OneOfSample, _Mapping]] = ..., stacked: _Optional[_Union[StackedSample, _Mapping]] = ...) -> None: ...

class GraphSample(_message.Message):
    __slots__ = ("nodes", "edges", "edge_links")
    NODES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    EDGE_LINKS_FIELD_NUMBER: _ClassVar[int]
    nodes: StackedSample
    edges: StackedSample
    edge_links: _values_pb2.Tensor
    def __init__(self, nodes: _Optional[_Union[StackedSample, _Mapping]] = ..., edges: _Optional[_Union[StackedSample, _Mapping]] = ..., edge_links: _Optional[_Union[_values_pb2.Tensor, _Mapping]] = ...) -> None: ...

class OneOfSample(_message.Message):
    __slots__ = ("index", "sample")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    index: int
    sample: Sample
    def __init__(self, index: _Optional[int] = ..., sample: _Optional[_Union[Sample, _Mapping]] = ...) -> None: ...

class StackedSample(_message.Message):
    __slots__ = ("length", "blocks")
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    length: int
    blocks: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, length: _Optional[int] = ..., blocks: _Optional[_Iterable[bytes]] = ...) -> None: ...
