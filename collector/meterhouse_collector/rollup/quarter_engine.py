"""An engine's rows and spans summed over a quarter. Pure; the rules are those of ``quarter``.

A row carries tokens if it has output and input. Cached tokens are known where each row that
carries has them. Histograms add up where their edges are equal; of different edges the last stay,
and the quality is ``estimated``.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.rollup.exact import Mean, Sum
from meterhouse_collector.rollup.roll_up import pick_row
from meterhouse_collector.rollup.site_energy import MEASURED
from meterhouse_collector.rollup.spans import Covered, Spread, spread
from meterhouse_collector.rollup.worst import worst_quality
from meterhouse_collector.rows import EngineRow, Served

TOKENS: Final = ("input_tokens", "cached_input_tokens", "output_tokens")
REQUESTS: Final = "requests:"


class _Histogram:
    """Observations of one latency under the edges seen last."""

    __slots__ = ("counts", "edges", "seconds")

    def __init__(self) -> None:
        self.edges: list[float] = []
        self.counts: list[int] = []
        self.seconds = Sum()

    def add(self, histogram: wire.Histogram) -> bool:
        """Add observations; tell whether those under other edges were let go."""
        fits = self.edges == histogram.edges_seconds and len(self.counts) == len(histogram.counts)
        dropped = not fits and any(self.counts)
        if not fits:
            self.edges, self.counts = histogram.edges_seconds, [0] * len(histogram.counts)
            self.seconds = Sum()
        self.counts = [a + b for a, b in zip(self.counts, histogram.counts, strict=True)]
        self.seconds.add(histogram.sum_seconds)
        return dropped


class _Served:
    """One served model."""

    __slots__ = (
        "cached_lacks", "carried", "counts", "covered", "gauges", "latency", "loose", "quality",
        "whole",
    )  # fmt: skip

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.whole: dict[str, Covered] = {}
        self.covered = Covered()
        self.gauges = {"running_requests": Mean(), "waiting_requests": Mean()}
        self.latency: dict[str, _Histogram] = {}
        self.carried = self.cached_lacks = False
        self.quality: wire.Quality | None = None
        self.loose: tuple[int, wire.Quality | None] = (0, None)

    def add(self, begins: int, length: int, row: Served) -> None:
        """Take one interval."""
        tokens = {name: getattr(row, name) for name in TOKENS}
        covered = row.covered_milliseconds
        carries = tokens["output_tokens"] is not None and tokens["input_tokens"] is not None
        if carries and row.quality in MEASURED:
            self.carried = True
            self.cached_lacks |= tokens["cached_input_tokens"] is None
            self.covered.add(begins, length, covered)
            self.quality = worst_quality(self.quality, row.quality)
        else:
            milliseconds, quality = self.loose
            self.loose = (milliseconds + covered, worst_quality(quality, row.quality))
        counts = {q: n for q, n in tokens.items() if n is not None}
        counts |= {REQUESTS + reason: n for reason, n in row.requests.items()}
        for quantity, count in counts.items():
            self.count(quantity, count)
            self.whole.setdefault(quantity, Covered()).add(begins, length, covered)
        for name, gauge in self.gauges.items():
            gauge.add(getattr(row, name), covered)
        for name, histogram in row.latency.items():
            if self.latency.setdefault(name, _Histogram()).add(histogram):
                self.quality = worst_quality(self.quality, "estimated")

    def count(self, quantity: str, count: int) -> None:
        self.counts[quantity] = self.counts.get(quantity, 0) + count

    def add_spans(self, parts: Sequence[Spread]) -> None:
        """Take what spans brought; the time is covered for which input and output are known."""
        gained = dict.fromkeys(TOKENS, 0)
        for part in parts:
            quantity = part.span.quantity
            self.count(quantity, part.tokens)
            if quantity in gained:
                gained[quantity] += self.covered.gained(part.pieces)
        known = min(gained["output_tokens"], gained["input_tokens"])
        if known > 0:
            self.carried = True
            self.covered.milliseconds += known
            self.cached_lacks |= gained["cached_input_tokens"] < known
            self.quality = worst_quality(self.quality, "estimated")

    def row(self, model: str, length: int) -> Served:
        """Return the quarter's sums of the model."""
        loose, quality = self.loose
        covered = self.covered.milliseconds if self.carried else loose
        known = self.counts.get
        return Served(
            served_model=model,
            covered_milliseconds=min(covered, length),
            input_tokens=known("input_tokens"),
            cached_input_tokens=None if self.cached_lacks else known("cached_input_tokens"),
            output_tokens=known("output_tokens"),
            requests={
                quantity.removeprefix(REQUESTS): count
                for quantity, count in sorted(self.counts.items())
                if quantity.startswith(REQUESTS)
            },
            running_requests=self.gauges["running_requests"].value,
            waiting_requests=self.gauges["waiting_requests"].value,
            latency={
                name: wire.Histogram(
                    edges_seconds=one.edges,
                    counts=one.counts,
                    sum_seconds=one.seconds.value or 0.0,
                )
                for name, one in sorted(self.latency.items())
            },
            quality=(self.quality if self.carried else quality) or "missing",
        )


class EngineQuarter:
    """An engine's rows of one quarter as they come, interval by interval in ascending order."""

    __slots__ = ("_begins", "_length", "_served")

    def __init__(self, start_seconds: int, length_seconds: int = wire.QUARTER_SECONDS) -> None:
        self._begins = start_seconds * 1000
        self._length = length_seconds * 1000
        self._served: dict[str, _Served] = {}

    @staticmethod
    def knows(span: wire.Span) -> bool:
        """Tell whether a span's quantity is one of an engine's."""
        named = span.quantity in TOKENS or span.quantity.startswith(REQUESTS)
        return named and span.served_model is not None

    def add(self, start_seconds: int, rows: Mapping[str, EngineRow]) -> None:
        """Take the rows of one interval by reader."""
        row = pick_row(rows)
        for served in row.served:
            sums = self._served.setdefault(served.served_model, _Served())
            sums.add(start_seconds * 1000, row.length_milliseconds, served)

    def compress(self) -> None:
        """Hold the same sums in less memory."""
        for served in self._served.values():
            for gauge in served.gauges.values():
                gauge.compress()
            for histogram in served.latency.values():
                histogram.seconds.compress()

    def row(self, spans: Sequence[wire.Span]) -> EngineRow | None:
        """Return the quarter's row, the last thing that is asked; None where there is nothing."""
        within = (self._begins, self._begins + self._length)
        parts: dict[str, list[Spread]] = {}
        for part in spread(filter(self.knows, spans), self._rows_over, within):
            parts.setdefault(part.span.served_model or "", []).append(part)
        for model, found in parts.items():
            self._served.setdefault(model, _Served()).add_spans(found)
        if not self._served:
            return None
        served = (sums.row(model, self._length) for model, sums in sorted(self._served.items()))
        return EngineRow(length_milliseconds=self._length, served=tuple(served))

    def _rows_over(self, span: wire.Span) -> Covered | None:
        served = self._served.get(span.served_model or "")
        return None if served is None else served.whole.get(span.quantity)
