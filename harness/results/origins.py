"""Follows weights through the operations of a forward pass, so that it is known where masks make zeros."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations, zip_longest
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from harness.results.factors import Factor, Factors, Unknown, geometry_of, storage_of

Origin: TypeAlias = Sequence[Factor]

COPIES = {"_to_copy", "clone", "copy"}
REARRANGED = {"cat", "constant_pad_nd", "flip", "pixel_shuffle", "repeat", "roll", "stack", "tril", "triu"}
BY_STRIDES = {"_reshape_alias", "as_strided"}
"""Views whose arguments fit the memory of one tensor and not that of its factors."""
POINTWISE = {"fill", "hardswish", "masked_fill", "zero"}
"""Operations on each entry for itself, besides those that torch has tagged as such."""
ZEROS = {"new_zeros", "zeros", "zeros_like"}
FILLED = {"full", "full_like", "new_full", "scalar_tensor"}
FRESH = ZEROS | FILLED | {"empty_like", "new_empty", "new_ones", "ones_like", "rand_like", "randn_like"}
PRODUCTS = {"addmm", "addmv", "baddbmm", "bmm", "convolution", "_convolution", "dot", "mm", "mv", "vdot"}
SUMS = {"linalg_vector_norm", "mean", "norm", "std", "std_mean", "sum", "var", "var_mean"}
CENTRED = {"native_batch_norm", "native_group_norm", "native_layer_norm", "_softmax", "_log_softmax"}
CENTRED |= {"_native_batch_norm_legit", "_native_batch_norm_legit_no_training"}
"""Operations that mix each entry with others, so that it is not zero because its own weight was."""


class Origins:
    """The origins of the tensors of a forward pass on the meta device, noted operation by operation.

    A tensor's origin is a list of factors: it is zero where any of them holds a masked weight, and as far as masks go
    nowhere else. A sum is taken for non-zero, and so is what holds no weight that may be masked, the network's inputs
    among them. A tensor is told by the memory that it looks at.
    """

    def __init__(self, factors: Factors) -> None:
        self._factors = factors
        self._noted: dict[int, dict[Any, Origin]] = {}  # by storage and geometry
        self._stems: dict[int, frozenset[str]] = {}  # connections of which a storage may hold weights
        self._data: set[int] = set()  # storages of what depends on the network's inputs
        self._zeros: set[int] = set()  # storages made of zeros
        self._alive: list[Tensor] = []  # so that no storage takes another one's address

    def add_input(self, tensor: Tensor) -> None:
        """Take a tensor for data: its zeros are not the masks' doing."""
        self._data.add(storage_of(tensor))
        self._alive.append(tensor)

    def of(self, tensor: Tensor) -> Origin:
        """The tensor's factors, each of its shape or unknown."""
        key = storage_of(tensor)
        if key in self._stems:
            found = self._noted[key].get(geometry_of(tensor))
            return _unknown(self._stems[key]) if found is None else found
        return [tensor] if self._factors.is_view(tensor) else _unknown(self._factors.connections(key))

    def note(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> None:
        """Note the origins of what an operation gave, or of what it wrote into."""
        call, outputs = _Call(func, args, kwargs), tensors_in(out)
        made, written = set(map(storage_of, outputs)), set(map(storage_of, call.written))
        self._alive += [*outputs, *call.written]
        self._zeros = self._zeros - written | (made if call.zero else set())
        data = any(storage_of(tensor) in self._data for tensor in call.tensors.values())
        if data:
            self._data |= made | written
        stems = frozenset[str]().union(*(self._stems_of(storage_of(tensor)) for tensor in call.tensors.values()))
        if not stems:
            return
        plain = data and not any(map(self._stems_of, written))
        origins = self._made(call, outputs, plain)
        if origins is None:
            names = self._factors.names(factor for tensor in call.tensors.values() for factor in self.of(tensor))
            origins = [_unknown(names)] * len(outputs)
        stems = frozenset() if plain and not any(origins) else stems
        for key in written:  # through other views it is known no more
            self._noted[key], self._stems[key] = {}, stems
        for tensor, origin in zip(outputs, origins, strict=True):
            key = storage_of(tensor)
            if key in self._stems or (origin and not self._factors.connections(key)):
                self._noted.setdefault(key, {})[geometry_of(tensor)] = origin
                self._stems[key] = stems | self._stems.get(key, frozenset())

    def _stems_of(self, storage: int) -> frozenset[str]:
        return self._stems[storage] if storage in self._stems else self._factors.connections(storage)

    def _made(self, call: _Call, outputs: Sequence[Tensor], data: bool) -> Sequence[Origin] | None:
        """The origin of each output, None if they are not known; ``data``: whether they are data."""
        none: Sequence[Origin] = [()] * len(outputs)
        first, *others = call.tensors.values()
        if not outputs or call.name in FRESH | PRODUCTS:
            return none
        if call.name in COPIES:
            return [_expanded(self.of([first, *others][-1]), outputs[0])]
        if call.name in REARRANGED or (not call.written and storage_of(outputs[0]) == storage_of(first)):
            return None if call.name in BY_STRIDES else self._moved(call, outputs)
        if call.name == "_weight_norm_interface":  # direction * (length / norm of the direction), and that norm
            factors = [factor for tensor in (first, *others) for factor in _expanded(self.of(tensor), outputs[0])]
            return [self._factors.distinct(factors), ()]
        if call.pointwise and len(outputs) == 1:
            try:
                return [self._probed(call, outputs[0], data)]
            except RuntimeError:  # not with tensors of that shape or type
                return None
        mixed = call.name in CENTRED or (call.name in SUMS and outputs[0].numel() < first.numel())
        return none if data or (mixed and not any(map(self.of, others))) else None

    def _moved(self, call: _Call, outputs: Sequence[Tensor]) -> Sequence[Origin] | None:
        """Where entries only change places: what the same operation makes of the factors."""
        origins = {at: self.of(tensor) for at, tensor in call.tensors.items()}
        unknown = [factor for origin in origins.values() for factor in origin if isinstance(factor, Unknown)]
        known = ([factor for factor in origin if isinstance(factor, Tensor)] for origin in origins.values())
        moved: list[list[Factor]] = [list(unknown) for _ in outputs]
        for layer in zip_longest(*known):
            for replaced in self._forms(call, layer):
                try:
                    found = tensors_in(call(replaced))
                except RuntimeError:  # there is no such view
                    continue
                views = all(self._factors.is_view(factor) or not factor.is_meta for factor in found)
                if views and [factor.shape for factor in found] == [output.shape for output in outputs]:
                    break
            else:
                return None
            for origin, factor in zip(moved, found, strict=True):
                origin.append(factor)
        return moved

    def _forms(self, call: _Call, layer: tuple[Tensor | None, ...]) -> Iterator[Mapping[int, Tensor]]:
        """What may stand for the inputs, given a factor of each (None for a tensor without): views, then numbers."""
        views = {at: factor for at, factor in zip(call.tensors, layer, strict=True) if factor is not None}
        if len(views) == len(call.tensors) == 1:
            yield views
        yield {
            at: torch.zeros(tensor.shape, dtype=torch.int64, device="cpu") if f is None else self._factors.numbers(f)
            for (at, tensor), f in zip(call.tensors.items(), layer, strict=True)
        }

    def _probed(self, call: _Call, output: Tensor, data: bool) -> Origin:
        """Where each entry is made for itself: by trying what becomes of zeros among other numbers."""
        origins = {at: _expanded(self.of(tensor), output) for at, tensor in call.tensors.items()}
        samples = {at: _sample(tensor.dtype, seed=at) for at, tensor in call.tensors.items()}
        always = {at for at, tensor in call.tensors.items() if storage_of(tensor) in self._zeros}
        keep: list[Factor] = []
        lost: dict[int, frozenset[str]] = {}

        def zeros(where: Collection[int]) -> Tensor:
            """Which results are zero if these inputs are and no others."""
            zero = always.union(where)
            made: Tensor = call({at: torch.zeros_like(x) if at in zero else x.clone() for at, x in samples.items()})
            return torch.eq(made, 0)

        for factor in self._factors.distinct(factor for origin in origins.values() for factor in origin):
            where = [at for at, origin in origins.items() if any(self._factors.same(factor, f) for f in origin)]
            if zeros(where).all():
                keep.append(factor)
            elif not data:  # else zeros are not the masks' doing alone
                lost |= {at: self._factors.names([factor]) | lost.get(at, frozenset()) for at in where}
        unknown: list[tuple[int, ...]] = []
        for number in range(1, len(lost) + 1):
            for together in combinations(lost, number):
                if not any(set(fewer) <= set(together) for fewer in unknown) and zeros(together).any():
                    unknown.append(together)
        return [*keep, *(Unknown(tuple(lost[at] for at in together)) for together in unknown)]


class _Call:
    """An operation with its arguments, to be repeated with other tensors in their places.

    Attributes:
        tensors: its inputs, by their places among all arguments.
        written: those of them that it writes into.
        pointwise: whether it makes each entry for itself.
        zero: whether it makes nothing but zeros.
    """

    def __init__(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self._func, schema = func, func._schema
        name = schema.name.removeprefix("aten::")
        self.name = name.rstrip("_") if schema.is_mutable else name
        self.pointwise = torch.Tag.pointwise in func.tags or self.name in POINTWISE
        self.zero = name in ZEROS or (name in FILLED and args[-1] == 0)
        if name == "constant_pad_nd":  # whatever the padding is, it is no weight
            args = args[:2]
        self._leaves, self._spec = tree_flatten((tuple(args), dict(kwargs)))
        self.tensors = {at: leaf for at, leaf in enumerate(self._leaves) if isinstance(leaf, Tensor)}
        given = dict(zip((argument.name for argument in schema.arguments), args, strict=False)) | dict(kwargs)
        writes = [
            argument.name for argument in schema.arguments if argument.alias_info and argument.alias_info.is_write
        ]
        self.written = tensors_in([given.get(name) for name in writes])

    def __call__(self, tensors: Mapping[int, Tensor]) -> Any:
        args, kwargs = tree_unflatten([tensors.get(at, leaf) for at, leaf in enumerate(self._leaves)], self._spec)
        return self._func(*args, **kwargs)


def tensors_in(tree: Any) -> list[Tensor]:
    """All tensors of nested arguments or results."""
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _unknown(names: frozenset[str]) -> Origin:
    return [Unknown((names,))] if names else []


def _expanded(origin: Origin, like: Tensor) -> Origin:
    return [factor if isinstance(factor, Unknown) else factor.expand(like.shape) for factor in origin]


def _sample(dtype: torch.dtype, seed: int) -> Tensor:
    """Numbers of both signs that are not zero, or both truth values."""
    values = torch.randn(64, generator=torch.Generator().manual_seed(seed), device="cpu")
    if dtype == torch.bool:
        return values > 0
    return values.to(dtype) if dtype.is_floating_point or dtype.is_complex else (values.sign() + 9 * values).to(dtype)
