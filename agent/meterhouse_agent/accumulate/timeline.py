"""Where the time of one agent stands, shared by all that it accumulates."""

from collections import Counter as Tally
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from meterhouse_agent.clock import STEP_MILLISECONDS
from meterhouse_agent.counters import Delta
from meterhouse_agent.wire import Method, Span, ThingKind

MAX_SPANS: Final = 16_384
# So many things away for as long as the ledger is kept change fewer quarters than the collector
# takes in one report.
SPANS_PER_REPORT: Final = 50


class Whose(Struct, frozen=True):
    """Which quantity of which thing an amount is of."""

    kind: ThingKind
    thing: str
    quantity: str
    device: str | None = None
    served_model: str | None = None


class Timeline:
    """The grid, the end of the last closed interval, and the spans that wait for a report."""

    def __init__(self, length_milliseconds: int) -> None:
        self.length_milliseconds = length_milliseconds
        self.closed_until_milliseconds = 0
        self.steps = 0
        self.events: Tally[str] = Tally()
        self._read_until = 0
        self._touched: set[int] = set()
        self._spans: list[Span] = []

    def touch(self, interval_milliseconds: int) -> None:
        """Note that something was laid into an open interval, so that it must be reported."""
        self._touched.add(interval_milliseconds)

    def close(self, interval_milliseconds: int) -> None:
        """Move on to the end of an interval."""
        self._touched = {start for start in self._touched if start > interval_milliseconds}
        self.pass_over(interval_milliseconds + self.length_milliseconds)

    def pass_over(self, until_milliseconds: int) -> None:
        """Leave out intervals that are empty: what is read of them later becomes a span."""
        self.closed_until_milliseconds = max(self.closed_until_milliseconds, until_milliseconds)

    def read_until(self, at_milliseconds: int) -> None:
        """Note up to when something was read."""
        self._read_until = max(self._read_until, at_milliseconds)

    def ahead_milliseconds(self, now_milliseconds: int, *, again: bool) -> int:
        """Return how far what was reported or read is ahead of a clock; 0 or less where it is not.

        What was only read is let be ahead by as much as clocks are slewed, unless it was by more.
        """
        read = self._read_until - now_milliseconds
        closed = self.closed_until_milliseconds - now_milliseconds
        return max(closed, read) if again or read >= STEP_MILLISECONDS else closed

    @property
    def first_touched_milliseconds(self) -> int | None:
        """The first open interval into which something was laid, ``None`` where there is none."""
        return min(self._touched, default=None)

    def add_span(
        self,
        whose: Whose,
        delta: Delta,
        amount: float,
        reason: str,
        method: Method = "interpolated",
    ) -> None:
        """Keep an amount that no single interval covers for the next report."""
        if len(self._spans) >= MAX_SPANS:
            self.events["span_dropped"] += 1
            return
        self._spans.append(
            Span(
                kind=whose.kind,
                thing=whose.thing,
                quantity=whose.quantity,
                device=whose.device,
                served_model=whose.served_model,
                from_milliseconds=delta.from_milliseconds,
                to_milliseconds=delta.to_milliseconds,
                amount=amount,
                method=method,
                reason=reason,
            )
        )

    def take_spans(self) -> list[Span]:
        """Hand out the spans of one report; those beyond its size wait for the next."""
        taken, self._spans = self._spans[:SPANS_PER_REPORT], self._spans[SPANS_PER_REPORT:]
        return taken

    @property
    def waiting_spans(self) -> tuple[Span, ...]:
        """The spans that no report has carried yet."""
        return tuple(self._spans)

    def restore_spans(self, spans: Iterable[Span]) -> None:
        """Take up the spans that an earlier life had no time to report."""
        self._spans.extend(spans)
