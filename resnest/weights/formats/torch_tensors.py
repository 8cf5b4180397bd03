"""What the pickles in PyTorch's files mean: storages, and tensors that look into them.

https://github.com/pytorch/pytorch/blob/v2.7.0/torch/_utils.py
"""

from __future__ import annotations

from math import prod
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from resnest.weights.formats.pickles import Global, Inert, plain_dict
from resnest.weights.formats.tensors import IN_TWO_BYTES, Header, printable, read_bfloat16, read_into

BFLOAT16 = "bfloat16"
_KINDS: dict[str, Any] = {
    "float32": "f4", "float64": "f8", "float16": "f2", "int64": "i8", "int32": "i4", "int16": "i2", "int8": "i1",
    "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8", "bool": "?", "complex64": "c8", "complex128": "c16",
}  # fmt: skip  # PyTorch's dtypes that NumPy has too
_STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "LongStorage": "int64",
    "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8",
    "BoolStorage": "bool", "BFloat16Storage": BFLOAT16, "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
}  # fmt: skip

_MOST_DIMS = 32
_LARGEST = 1 << 62


class Storage(NamedTuple):
    """A stretch of memory that tensors look into: its number in the file, the dtype and how many it has of it."""

    key: str
    kind: str
    length: int


class StoredTensor(NamedTuple):
    """A tensor in the file; `kind` is PyTorch's name of its dtype, `offset` and `strides` count elements."""

    storage: Storage
    kind: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Memory(Protocol):
    """Where the storages of a file lie."""

    order: Literal["<", ">"]

    def size(self, key: str) -> int:
        """Bytes that the storage really has; ValueError where there is none."""

    def before(self, key: str, start: int) -> int:
        """How many of the `start` bytes before a place have to be read to get there."""

    def open(self, key: str, start: int, count: int) -> Any:
        """A context: the file from byte `start` of the storage, of which `count` bytes will be read."""


def storage_of(saved: Any, lengths: dict[str, tuple[int, int]]) -> Any:
    """What a persistent id stands for; `lengths` gets how many elements each storage has, and of how many bytes."""
    match saved:
        case ("storage", Global(name=name), str(key), _, int(length), *view):
            kind = _STORAGES.get(name.rpartition(".")[2])
            # In the oldest files a storage may be a part of another one; nobody writes that any more.
            if kind is None or not 0 <= length < _LARGEST or any(one is not None for one in view):
                return Inert("torch.storage")
            lengths.setdefault(key, (length, _itemsize(kind)))
            return Storage(key, kind, length)
        case ("module", Global() as module, *_):
            return module
    return Inert("?")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Any:
    kind = storage.kind if isinstance(storage, Storage) else ""
    return _tensor_of_kind(storage, offset, shape, strides, kind)


def _tensor_with_dtype(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> Any:
    return _tensor_of_kind(storage, offset, shape, strides, getattr(dtype, "name", "").removeprefix("torch."))


def _tensor_of_kind(storage: Any, offset: Any, shape: Any, strides: Any, kind: str) -> Any:
    sound = isinstance(storage, Storage) and all(_are_lengths(numbers) for numbers in ((offset,), shape, strides))
    if not sound or len(shape) != len(strides):
        return Inert("torch.Tensor")
    return StoredTensor(storage, kind, offset, tuple(shape), tuple(strides))


def _are_lengths(numbers: Any) -> bool:
    few = isinstance(numbers, (tuple, list)) and len(numbers) <= _MOST_DIMS
    return few and all(type(number) is int and 0 <= number < _LARGEST for number in numbers)


def _tensor_with_attributes(function: Any, kind: Any, arguments: Any, *_: Any) -> Any:
    build = _TENSORS.get(getattr(function, "name", ""))
    return Inert(getattr(kind, "name", "torch.Tensor")) if build is None else build(*arguments)


_TENSORS: dict[str, Any] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_with_dtype,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
}
BUILD: dict[str, Any] = {
    **_TENSORS,
    "torch._tensor._rebuild_from_type_v2": _tensor_with_attributes,
    "collections.OrderedDict": plain_dict,
    "torch.Size": lambda shape=(): tuple(shape),
}


def is_known(name: str) -> bool:
    """Whether a name is one of PyTorch's own that every file may have."""
    module, _, last = name.rpartition(".")
    return name in ("torch.Tensor", "torch.nn.parameter.Parameter", "torch.device") or (
        module in ("torch", "torch.cuda", "torch.storage") and (last in _STORAGES or last in _KINDS or last == BFLOAT16)
    )


def _itemsize(kind: str) -> int:
    return 2 if kind == BFLOAT16 else np.dtype(_KINDS[kind]).itemsize


def header(name: str, tensor: StoredTensor, memory: Memory) -> Header:
    """The array that a tensor is going to be; ValueError where its storage does not have it."""
    if tensor.kind != BFLOAT16 and tensor.kind not in _KINDS:
        raise ValueError(f"{name} in it has dtype {printable(tensor.kind)}, which NumPy does not have")
    span, size = _span(tensor), memory.size(tensor.storage.key)
    end = (tensor.offset + span) * _itemsize(tensor.kind)
    if span and end > size:
        raise ValueError(f"{name} in it ends at byte {end} of a storage that has {size}")
    return Header(tensor.shape, IN_TWO_BYTES if tensor.kind == BFLOAT16 else np.dtype(_KINDS[tensor.kind]))


def bytes_to_read(tensor: StoredTensor, memory: Memory) -> int:
    """How much of its storage has to be read for a tensor that `header` found sound."""
    span, itemsize = _span(tensor), _itemsize(tensor.kind)
    return span * itemsize + memory.before(tensor.storage.key, tensor.offset * itemsize) if span else 0


def _span(tensor: StoredTensor) -> int:
    """How many elements lie from a tensor's first to its last."""
    if not prod(tensor.shape):
        return 0
    return 1 + sum((length - 1) * stride for length, stride in zip(tensor.shape, tensor.strides))


def read_tensor(tensor: StoredTensor, memory: Memory) -> np.ndarray:
    """The tensor's numbers in a fresh array, bfloat16 as float32."""
    span, itemsize = _span(tensor), _itemsize(tensor.kind)
    if not span:
        return np.empty(tensor.shape, "f4" if tensor.kind == BFLOAT16 else _KINDS[tensor.kind])
    with memory.open(tensor.storage.key, tensor.offset * itemsize, span * itemsize) as file:
        if tensor.kind == BFLOAT16:
            flat = np.empty(span, "f4")
            read_bfloat16(file, flat, memory.order)
        else:
            flat = np.empty(span, np.dtype(_KINDS[tensor.kind]).newbyteorder(memory.order))
            read_into(file, flat)
            flat = flat.astype(_KINDS[tensor.kind], copy=False)
    strides = [stride * flat.itemsize for stride in tensor.strides]
    return np.require(np.lib.stride_tricks.as_strided(flat, tensor.shape, strides), requirements=("C", "W"))
