"""Which connections are grown together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from torch import Tensor

from harness import Band, Connection
from harness_genome.genome import Genome


@dataclass(frozen=True, slots=True)
class GenomeBlock:
    """Connections that lie side by side in one parameter and are grown by one matmul.

    Attributes:
        region: all of them as one connection; its source is that of the first.
        connections: from left to right.
        target: number of the target band in the layout.
        sources: half-open range of the source units in the layout.
    """

    region: Connection
    connections: tuple[Connection, ...]
    target: int
    sources: tuple[int, int]

    def split(self, mask: Tensor) -> dict[str, Tensor]:
        """A mask (out, in) of the block, cut into its connections: name -> (out, in)."""
        widths = [connection.shape[1] for connection in self.connections]
        return {c.name: part for c, part in zip(self.connections, mask.split_with_sizes(widths, dim=1), strict=True)}


class Layout:
    """The units of all bands in order of depth, and the blocks of connections between them.

    Fixed while a stage runs: everything that does not depend on the genome's values is computed once.

    Args:
        genome: its shape, device and dtype are used, not its values.
        connections: those in scope; band depths are the genome's band numbers.
    """

    def __init__(self, genome: Genome, connections: Sequence[Connection]) -> None:
        bands = sorted({band for c in connections for band in (c.source, c.target)}, key=lambda b: (b.depth, b.name))
        self.coordinates = genome.coordinates([(band.depth, band.size) for band in bands])
        self.pairs = sum(c.source.size * c.target.size for c in connections)
        self._sizes = [band.size for band in bands]
        stops = list(accumulate(self._sizes))
        units = {band: (stop - band.size, stop) for band, stop in zip(bands, stops, strict=True)}
        self.blocks: list[GenomeBlock] = []
        last: dict[str, int] = {}
        for connection in connections:
            index = last.get(connection.parameter)
            joined = None if index is None else _join(self.blocks[index], connection, units)
            if index is not None and joined is not None:
                self.blocks[index] = joined
            else:
                last[connection.parameter] = len(self.blocks)
                target = bands.index(connection.target)
                self.blocks.append(GenomeBlock(connection, (connection,), target, units[connection.source]))

    def logits(self, genome: Genome) -> list[Tensor]:
        """The logits of every block, (out, in) each."""
        as_target, as_source = genome.factors(self.coordinates)
        targets = as_target.split_with_sizes(self._sizes, dim=1)
        return [genome.logits(targets[b.target], as_source[:, slice(*b.sources)]) for b in self.blocks]

    def parts(self, values: Iterable[Tensor]) -> Iterator[tuple[str, Tensor]]:
        """(connection, its part of its block's values), in the layout's order."""
        for block, whole in zip(self.blocks, values, strict=True):
            yield from block.split(whole).items()


def bands_of(connections: Sequence[Connection]) -> int:
    """How many bands a genome must have for these connections."""
    return 1 + max((band.depth for c in connections for band in (c.source, c.target)), default=0)


def every_pair(connections: Sequence[Connection]) -> list[Connection]:
    """A connection between any two bands, by target, then by source, whether or not a weight is there.

    Where bands share a depth (a wider layer between two of a stream), the one that others read is it.
    """
    read = {c.source.depth: c.source for c in connections}
    bands = {c.target.depth: c.target for c in connections} | read
    found: list[Connection] = []
    for target in (bands[depth] for depth in sorted(bands)):
        start = 0
        for source in (bands[depth] for depth in sorted(bands) if depth < target.depth):
            name, columns = f"{target.name}.from_{source.name}", (start, start + source.size)
            shape = (target.size, source.size)
            found.append(Connection(name, target.name, "any", source, target, shape, columns=columns))
            start += source.size
    return found


def unmaskable(connections: Sequence[Connection], n_bands: int | None) -> str | None:
    """Why a genome of ``n_bands`` (None: as many as needed) has no masks for these connections, or None if it has."""
    if not connections:
        return "no connection is in scope, so there is nothing to grow"
    for connection in connections:
        if connection.kind != "weight":
            return f"connection '{connection.name}' is an attention bias; the genome only masks weights so far"
        if connection.shape[:2] != (connection.target.size, connection.source.size):
            return f"connection '{connection.name}' is grouped: not every target unit has a weight per source unit"
    if n_bands is not None and n_bands < bands_of(connections):
        needed = bands_of(connections)
        return f"the connections span {needed} bands but n_bands is {n_bands}; raise it or leave it out"
    return None


def _join(block: GenomeBlock, connection: Connection, units: dict[Band, tuple[int, int]]) -> GenomeBlock | None:
    """The block with the connection at its right, or None if it does not continue the block."""
    region = block.region
    if region.columns is None or connection.columns is None:
        return None
    if any(getattr(region, name) != getattr(connection, name) for name in ("target", "rows", "out_axis", "in_axis")):
        return None
    start, stop = units[connection.source]
    if (block.sources[1], region.columns[1]) != (start, connection.columns[0]):
        return None
    shape = (region.shape[0], region.shape[1] + connection.shape[1], *region.shape[2:])
    joined = replace(region, columns=(region.columns[0], connection.columns[1]), shape=shape)
    return GenomeBlock(joined, (*block.connections, connection), block.target, (block.sources[0], stop))
