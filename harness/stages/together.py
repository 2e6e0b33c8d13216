"""Trainings that go on side by side in one process, packed where they can be."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from contextlib import nullcontext
from time import monotonic

from harness.training.distributed import random_state
from harness.training.pack import Failures, Pack, Unpackable, kind, own_random
from harness.training.trainer import Trainer


def run_together(
    runs: Mapping[str, Generator[Trainer]],
    ended: Callable[[str, BaseException | None], None],
    note: Callable[[str, str], None],
) -> None:
    """Bring trainings to their ends; what one raises ends it alone.

    Args:
        runs: by name, each yielding its trainer when steps are due.
        ended: called with the name of one that has come to its end, and with what it raised, if it did.
        note: called with the name of one that trains alone, and why.
    """
    _Together(runs, ended, note).go()


class _Together:
    def __init__(
        self,
        runs: Mapping[str, Generator[Trainer]],
        ended: Callable[[str, BaseException | None], None],
        note: Callable[[str, str], None],
    ) -> None:
        self._runs = runs
        self._ended = ended
        self._note = note
        self._current: dict[str, Trainer] = {}
        self._kinds: dict[Trainer, Hashable] = {}
        self._packs: dict[tuple[str, ...], Pack] = {}

    def go(self) -> None:
        for name in self._runs:
            self._resume(name, None)
        while self._current:
            failed: Failures = {}
            groups = self._groups()
            self._packs = {names: pack for names, pack in self._packs.items() if names in groups}
            for names in groups:
                began = monotonic()
                failed |= self._advance(names)
                self._charge(monotonic() - began, names)
            for name, trainer in list(self._current.items()):
                self._resume(name, failed.get(trainer))

    def _groups(self) -> list[tuple[str, ...]]:
        """Names of those that share a pack, or of one that trains alone."""
        groups: dict[Hashable, tuple[str, ...]] = {}
        for name, trainer in self._current.items():
            groups[self._kinds[trainer]] = (*groups.get(self._kinds[trainer], ()), name)
        return list(groups.values())

    def _advance(self, names: tuple[str, ...]) -> Failures:
        members = [self._current[name] for name in names]
        if len(members) > 1:
            try:
                if names not in self._packs:
                    self._packs[names] = Pack(members)
                return self._packs[names].advance()
            except Unpackable as error:
                for name, member in zip(names, members, strict=True):
                    self._kinds[member] = name
                    self._note(name, f"trains alone, as it cannot be packed: {error}")
        failed: Failures = {}
        for member in members:
            try:
                with own_random(member):
                    member.advance()
            except BaseException as error:  # whatever a plugin raises ends this training and no other
                failed[member] = error
        return failed

    def _charge(self, seconds: float, names: Sequence[str]) -> None:
        """Time that these have shared was spent elsewhere by the others, and by each of these but for its share."""
        for name, trainer in self._current.items():
            trainer.elsewhere += seconds * (1 - 1 / len(names) if name in names else 1)

    def _resume(self, name: str, error: BaseException | None) -> None:
        """Let a training do what it does between steps, or end by what one of its steps has raised."""
        began, before = monotonic(), self._current.pop(name, None)
        run = self._runs[name]
        try:
            with own_random(before) if before is not None else nullcontext():
                trainer = next(run) if error is None else run.throw(error)
        except StopIteration:
            self._ended(name, None)
        except BaseException as raised:
            self._ended(name, raised)
        else:
            if before is None:
                trainer.random = random_state()
                self._kinds[trainer] = kind(trainer)
            self._charge(monotonic() - began, ())
            self._current[name] = trainer
            return
        self._charge(monotonic() - began, ())
