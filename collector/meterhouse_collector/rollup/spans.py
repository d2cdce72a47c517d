"""Spans spread over time: what of an amount falls into a stretch that no row covers. Pure.

An amount is spread linearly over its stretch, in milliseconds. Where a whole row or a shorter span
of the same quantity lies inside, that wins (``docs/decisions/0011-rows-win-over-spans.md``).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from meterhouse_agent import wire

Stretch = tuple[int, int]


class Covered:
    """Which intervals have a quantity in rows, and for how long; intervals come ascending."""

    __slots__ = ("_partial", "_whole", "milliseconds")

    def __init__(self) -> None:
        self.milliseconds = 0
        self._whole: list[tuple[int, int, int]] = []
        self._partial: list[tuple[int, int, int]] = []

    def add(self, begins: int, length: int, covered: int) -> None:
        """Take an interval of which a row covers so many milliseconds."""
        self.milliseconds += covered
        if covered < length:
            self._partial.append((begins, begins + length, covered))
            return
        if self._whole:
            first, ends, step = self._whole[-1]
            if ends == begins and step == length:
                self._whole[-1] = (first, begins + length, step)
                return
        self._whole.append((begins, begins + length, length))

    def inside(self, stretch: Stretch) -> Iterator[Stretch]:
        """Yield the whole intervals that lie in a stretch from their start to their end."""
        for begins, ends, step in self._whole:
            first = begins + max(0, -(-(stretch[0] - begins) // step)) * step
            last = ends - max(0, -(-(ends - stretch[1]) // step)) * step
            if first < last:
                yield first, last

    def gained(self, pieces: Sequence[Stretch]) -> int:
        """Return how much longer the quantity is known with these pieces of a span."""
        gained = sum(ends - begins for begins, ends in pieces)
        for begins, ends, _ in self._whole:
            gained -= _overlap(pieces, (begins, ends))
        for begins, ends, covered in self._partial:
            shared = _overlap(pieces, (begins, ends))
            gained -= shared - min(shared, ends - begins - covered)
        return gained


class Spread(NamedTuple):
    """The pieces of a span that fall into the stretch that is summed, and win there."""

    span: wire.Span
    pieces: tuple[Stretch, ...]

    @property
    def milliseconds(self) -> int:
        """How long the pieces are together."""
        return sum(ends - begins for begins, ends in self.pieces)

    @property
    def amount(self) -> float:
        """The part of the amount that falls into the pieces."""
        begins, ends = stretch_of(self.span)
        return self.span.amount * (self.milliseconds / (ends - begins))

    @property
    def tokens(self) -> int:
        """The part of a whole number, rounded so that all parts add up to all of it."""
        begins, ends = stretch_of(self.span)
        whole, length = round(self.span.amount), ends - begins
        return sum(
            whole * (last - begins) // length - whole * (first - begins) // length
            for first, last in self.pieces
        )


def stretch_of(span: wire.Span) -> Stretch:
    """Return the stretch of a span; what was counted at an instant fell into its millisecond."""
    begins = span.from_milliseconds
    return begins, max(span.to_milliseconds, begins + 1)


def without(stretch: Stretch, taken: Iterable[Stretch]) -> list[Stretch]:
    """Return what is left of a stretch, ascending."""
    left = [stretch]
    for begins, ends in taken:
        left = [
            part
            for first, last in left
            for part in ((first, min(last, begins)), (max(first, ends), last))
            if part[0] < part[1]
        ]
    return left


def spread(
    spans: Iterable[wire.Span],
    covered: Callable[[wire.Span], Covered | None],
    within: Stretch,
) -> list[Spread]:
    """Return what of each span falls into a stretch; where spans overlap the shorter wins."""
    taken: dict[tuple[str | None, ...], list[Stretch]] = {}
    found = []
    for span in sorted(spans, key=_rank):
        stretch = stretch_of(span)
        whole = covered(span)
        rows = () if whole is None else whole.inside(stretch)
        key = (span.kind, span.thing, span.quantity, span.device, span.served_model)
        earlier = taken.setdefault(key, [])
        pieces = [
            (max(first, within[0]), min(last, within[1]))
            for first, last in without(stretch, [*rows, *earlier])
        ]
        pieces = [piece for piece in pieces if piece[0] < piece[1]]
        earlier.append(stretch)
        if pieces:
            found.append(Spread(span, tuple(pieces)))
    return found


def _overlap(pieces: Sequence[Stretch], stretch: Stretch) -> int:
    return sum(max(0, min(e, stretch[1]) - max(b, stretch[0])) for b, e in pieces)


def _rank(span: wire.Span) -> tuple[object, ...]:
    begins, ends = stretch_of(span)
    texts = (span.quantity, span.device or "", span.served_model or "", span.method, span.reason)
    return (ends - begins, begins, span.amount, *texts)
