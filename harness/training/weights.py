"""Raw and effective weights: the only place that writes parameters and masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from harness.core.connections import CLOSED, Connection, weights_among
from harness.core.current_masks import CurrentMasks
from harness.core.mask_arithmetic import mask_, mask_as_bits
from harness.core.masks import Masks
from harness.core.method import SparsityMethod
from harness.core.returned import kind, require_tensor
from harness.errors import PluginError
from harness.training.compact_parameters import Kept, fits


class Weights:
    """Keeps a module's parameters equal to the effective weights.

    *Projected* (``method`` is None or in projected mode): the parameter is the raw weight. Masked entries
    are zero and stay zero because their gradient is cleared before every optimizer step: momentum,
    clipping norm and decay then never see them. The gradient is cleared by AND-ing its bits with a mask
    of ones and zeros, which costs what a multiplication costs and also turns inf and NaN into zero. A method
    with ``dense_updates`` gets the weights themselves cleared instead, after every step.

    *Composed*: raw weights live beside the module; :meth:`materialise` evaluates
    ``method.effective(raw)`` under autograd and copies it into the module, :meth:`pull_back` carries the
    module's gradients through it.

    Attention masks are biases, buffers of the module: 0 without a mask. The optimizer knows nothing of them, nor do
    decay, clipping and counts of parameters; in composed mode their gradients go back to the method.

    Args:
        module: its parameters must not be replaced afterwards.
        connections: those in scope.
        masks: hard masks to hold, or the place where they stand; None for a dense network (no cost at all).
        method: the method whose hooks run, or None.
    """

    def __init__(
        self,
        module: nn.Module,
        connections: Sequence[Connection],
        masks: CurrentMasks | Masks | None = None,
        method: SparsityMethod[Any] | None = None,
    ) -> None:
        self.module = module
        self.connections = tuple(connections)
        self.method = method if method is not None and method.mode == "composed" else None
        self.dense_updates = self.method is None and method is not None and method.dense_updates
        self.parameters: dict[str, nn.Parameter] = dict(module.named_parameters())
        names = {id(parameter): name for name, parameter in self.parameters.items()}
        self._canonical = {alias: names[id(p)] for alias, p in module.named_parameters(remove_duplicate=False)}
        device = next((parameter.device for parameter in self.parameters.values()), torch.device("cpu"))
        self.current = masks if isinstance(masks, CurrentMasks) else CurrentMasks(self.connections, device, masks)
        self._keep_bits: list[tuple[nn.Parameter, Tensor]] = []
        self._kept: Kept | None = None
        self._effective: dict[str, Tensor] = {}
        maskable = dict.fromkeys(c.parameter for c in weights_among(connections))
        buffers = dict(module.named_buffers())
        self.biases = {c.parameter: buffers[c.parameter] for c in connections if c.kind == "attention"}
        for bias in self.biases.values():
            bias.detach().zero_()
            bias.requires_grad_(self.method is not None)
        self._zeros = {name: torch.zeros_like(bias, requires_grad=False) for name, bias in self.biases.items()}
        self.raw: dict[str, nn.Parameter] = {name: self.parameters[name] for name in maskable}
        if self.method is not None:
            self.raw = {
                name: nn.Parameter(parameter.detach().clone(), requires_grad=parameter.requires_grad)
                for name, parameter in self.raw.items()
            }
        elif self.current.hard is not None:
            self.hold(self.current.hard)

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """Every parameter of the module, composed ones in their raw form."""
        return {**self.parameters, **self.raw}

    @property
    def inputs(self) -> dict[str, Tensor]:
        """What a method masks: raw weights, and zeros for attention biases."""
        return {**self.raw, **self._zeros}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What the network computes with: its parameters, and the attention biases in scope."""
        return {**self.parameters, **self.biases}

    def owned(self, lasting: bool) -> list[nn.Parameter]:
        """What the optimizer owns: :attr:`trained`, or only the kept entries of what is masked most.

        The latter where masks are ``lasting``: not changed by :meth:`hold` as long as the optimizer lives.
        """
        sparse = [entry for entry in self._keep_bits if lasting and not self.dense_updates and fits(*entry)]
        if not sparse:
            return list(self.trained.values())
        self._kept = Kept(sparse)
        replaced = {id(parameter) for parameter, _ in sparse}
        self._keep_bits = [entry for entry in self._keep_bits if id(entry[0]) not in replaced]
        return [*(p for p in self.trained.values() if id(p) not in replaced), self._kept.vector]

    @property
    def masks(self) -> Masks | None:
        """The hard masks that are held here; None where nothing is masked, or a composed method masks."""
        return self.current.hard if self.method is None else None

    @torch.no_grad()
    def start(self) -> None:
        """Composed mode: what the network has becomes the raw weights that the method makes of it."""
        if self.method is None or type(self.method).start is SparsityMethod.start:
            return
        for connection in weights_among(self.connections):
            region = connection.region(self.raw[connection.parameter])
            region.copy_(self._of("start", self.method.start(connection, region.clone()), connection))

    # --- once per optimizer step -------------------------------------------------------------

    def materialise(self) -> None:
        """Composed mode: evaluate the effective weights with their graph and copy them into the module."""
        if self.method is None:
            return
        self._effective = self._composed()
        self._write(self._effective)

    def pull_back(self, regularizer: Tensor | None = None) -> None:
        """Turn the module's accumulated gradients into gradients of what the optimizer owns.

        ``regularizer`` is a scalar to add to the loss; its graph may share nodes with the effective
        weights' and is traversed together with it.
        """
        if self.method is None:
            if regularizer is not None and regularizer.requires_grad:
                regularizer.backward()  # type: ignore[no-untyped-call]
            for parameter, kept in self._keep_bits:
                if parameter.grad is not None and not self.dense_updates:
                    mask_(parameter.grad, kept)
            if self._kept is not None:
                self._kept.collect()
            return
        outputs: list[Tensor] = []
        gradients: list[Tensor | None] = []
        tensors = self.tensors
        for name, effective in self._effective.items():
            gradient = tensors[name].grad
            if gradient is not None and effective.requires_grad:
                outputs.append(effective)
                gradients.append(gradient)
        if regularizer is not None and regularizer.requires_grad:
            outputs.append(regularizer)
            gradients.append(None)
        torch.autograd.backward(outputs, gradients)
        self._effective = {}
        for name in self.inputs:
            tensors[name].grad = None

    def stepped(self) -> None:
        """After the optimizer's step: what it owns in another form goes into the parameters."""
        if self._kept is not None:
            self._kept.spread()

    def clear(self) -> None:
        """After a step at which the masks stay: what they close becomes zero, where it has moved."""
        for parameter, kept in self._keep_bits if self.dense_updates else ():
            mask_(parameter, kept)

    @torch.no_grad()
    def put_back(self) -> None:
        """At the end of a phase: the module's parameters hold raw weights."""
        if self.method is not None:
            self._write(self.raw)

    # --- masks -------------------------------------------------------------------------------

    @torch.no_grad()
    def hold(self, masks: Masks, reset: Callable[[nn.Parameter, Tensor], None] | None = None) -> None:
        """Projected mode: set new hard masks and zero what they close.

        Weights that open are zero already, unless a step with ``dense_updates`` has just moved them.
        ``reset(parameter, changed)`` is called with the entries that opened or closed, so that no optimizer state
        survives a change; with ``dense_updates`` it is not.
        """
        assert self.method is None, "composed methods own their masks"
        assert reset is None or self._kept is None, "these masks were said to last"
        before = {id(parameter): kept for parameter, kept in self._keep_bits}
        self.current.hard, self._kept = masks, None
        self._keep_bits = []
        bits_of: dict[str, Tensor] = {}  # of whole parameters
        for bias in self.biases.values():
            bias.zero_()
        for connection in self.connections:
            if connection.kind == "attention":
                connection.region(self.biases[connection.parameter]).masked_fill_(~masks[connection.name], CLOSED)
                continue
            parameter = self.parameters[connection.parameter]
            kept = mask_as_bits(masks[connection.name], parameter.dtype)
            if connection.fills(parameter) and kept.stride() == parameter.stride():
                bits_of[connection.parameter] = kept
                continue
            if connection.parameter not in bits_of:
                bits_of[connection.parameter] = torch.full_like(parameter, -1, dtype=kept.dtype)
            connection.region(bits_of[connection.parameter]).copy_(kept)
        for name, kept in bits_of.items():
            parameter = self.parameters[name]
            if reset is not None and not self.dense_updates:
                old = before.get(id(parameter))
                changed = kept != old if old is not None else kept == 0
                reset(parameter, changed)
            mask_(parameter, kept)
            if kept.amax() == 0:  # something is masked
                self._keep_bits.append((parameter, kept))

    # --- evaluation and state ----------------------------------------------------------------

    @contextmanager
    def evaluating(self, masks: Literal["hard", "soft"], hard: Masks | None = None) -> Iterator[nn.Module]:
        """The module in evaluation mode with its effective weights, or for ``hard`` with its :meth:`final` ones.

        Mode and parameters are afterwards as they were before.
        """
        training = self.module.training
        before: dict[str, Tensor] = {}
        self.module.eval()
        try:
            with torch.no_grad():
                if self.method is not None:
                    before = {name: self.tensors[name].detach().clone() for name in self.inputs}
                    self._write(self.final(hard) if masks == "hard" and hard is not None else self._composed())
                yield self.module
        finally:
            self.module.train(training)
            self._write(before)

    @torch.no_grad()
    def final(self, masks: Masks) -> dict[str, Tensor]:
        """The method's final weights where masks are True, 0 elsewhere, as whole parameters; biases likewise."""
        whole = {name: raw.detach().clone() for name, raw in self.inputs.items()}
        for connection in self.connections:
            region = connection.region(whole[connection.parameter])
            if self.method is not None:
                region.copy_(self._of("final", self.method.final(connection, region.clone()), connection))
            region.masked_fill_(~masks[connection.name], 0 if connection.kind == "weight" else CLOSED)
        return whole

    def zeros(self) -> dict[str, int]:
        """Zero entries per connection, recounted from the module's parameters as they are now."""
        regions = {c.name: c.region(self.parameters[c.parameter].detach()) for c in weights_among(self.connections)}
        return {name: int((region == 0).sum()) for name, region in regions.items()}

    def nonzero_total(self) -> int:
        """Non-zero entries over all parameters of the module, as they are now."""
        return sum(int(torch.count_nonzero(p.detach())) for p in self.parameters.values())

    def state(self) -> dict[str, Tensor]:
        """Raw parameters and persistent buffers, under the names of the module's own ``state_dict``.

        A tied parameter stands under each of its names, raw under all of them.
        """
        trained = self.trained
        return {
            name: trained[self._canonical[name]].detach() if name in self._canonical else tensor
            for name, tensor in self.module.state_dict().items()
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of :meth:`state`.

        Raises:
            ValueError: on a missing or unexpected name; a bug or a changed plugin without a new version.
        """
        own = self.state()
        if own.keys() != state.keys():
            raise ValueError(f"saved weights do not fit the network: {sorted(own.keys() ^ state.keys())}")
        for name, tensor in own.items():
            tensor.copy_(state[name])
        if self.masks is not None:
            self.hold(self.masks)

    def _composed(self) -> dict[str, Tensor]:
        """The method's effective weights, of every parameter that it is asked for."""
        assert self.method is not None
        found, hook = self.method.effective(self.inputs, self.connections), f"{type(self.method).__name__}.effective()"
        if not (isinstance(found, Mapping) and found.keys() == self.inputs.keys()):
            what = ", ".join(map(str, found)) or "nothing" if isinstance(found, Mapping) else kind(found)
            raise PluginError(f"{hook} returned {what}: must be a mapping of {', '.join(self.inputs)} to tensors")
        for name, tensor in found.items():
            require_tensor(tensor, self.inputs[name].shape, hook, f"parameter '{name}'")
        return dict(found)

    def _of(self, hook: str, given: Tensor, connection: Connection) -> Tensor:
        """What a hook made of one connection's weights, if it fits."""
        what = f"the weight of connection '{connection.name}'"
        require_tensor(given, connection.shape, f"{type(self.method).__name__}.{hook}()", what)
        return given

    @torch.no_grad()
    def _write(self, effective: Mapping[str, Tensor]) -> None:
        if effective:
            tensors = self.tensors
            torch._foreach_copy_([tensors[name] for name in effective], list(effective.values()))
