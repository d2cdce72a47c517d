"""Looks at all rules again and again, and writes down what changed.

What is live is looked at once an interval is old enough that late reports are in it, what is summed
by quarters once a quarter. A transition is a point of ``event``, and so is, in each quarter, the
state of all that is open: by these a restart takes up where it was.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Final, NamedTuple

from meterhouse_collector.alerts import figures, plans, points, spend
from meterhouse_collector.alerts.amounts import QUARTER, KeptAmounts
from meterhouse_collector.alerts.back import last_points
from meterhouse_collector.alerts.book import Book
from meterhouse_collector.alerts.conditions.budget import budget_rules, burn_thresholds, look_at
from meterhouse_collector.alerts.known import LiveKnown, Own, QuarterKnown
from meterhouse_collector.alerts.peaks import Peaks
from meterhouse_collector.alerts.sight import Sight
from meterhouse_collector.alerts.state import Observation, Phase, Rule, Transition
from meterhouse_collector.alerts.table import ALWAYS, LIVE, QUARTERLY, Watch, watches
from meterhouse_collector.alerts.xids import WINDOW_SECONDS
from meterhouse_collector.ledger import Entry
from meterhouse_collector.live import Live
from meterhouse_collector.rows import Row, Table
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.targets import Budget, Scope, Threshold, ThresholdKind
from meterhouse_collector.store import Store, StoreUnavailableError
from meterhouse_collector.telemetry import Telemetry
from meterhouse_collector.ticks import tick
from meterhouse_collector.xids import told, told_in

_LOG: Final = logging.getLogger(__name__)
_TICK_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = 60.0
# A quarter is summed some minutes after its end.
_SUMMED_SECONDS: Final = 480
_DATED_KINDS: Final[tuple[ThresholdKind, ...]] = ("ending", "delivery")
_SUMMED_KINDS: Final[tuple[ThresholdKind, ...]] = ("commitment",)


class Looked(NamedTuple):
    """What a rule saw last."""

    rule: Rule
    observations: tuple[Observation, ...]


class Alerts:
    """Keeps the alerts of one site; ``tell`` hears of each transition after it was written."""

    def __init__(  # noqa: PLR0913 - its parts, each by name
        self,
        live: Live,
        index: SiteIndex,
        store: Store,
        telemetry: Telemetry,
        *,
        write: Callable[[Row], None],
        tell: Callable[[Transition], None] = lambda _: None,
        own: Callable[[], Own] = Own,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.book: Final = Book()
        self.looked: Final[dict[str, Looked]] = {}
        self._sight = Sight(live, index)
        self._index = index
        self._store = store
        self._telemetry = telemetry
        self._write = write
        self._tell = tell
        self._own = own
        self._clock = clock
        self._kept = KeptAmounts(index.model, spend.recent_seconds(index.model.budget))
        self._peaks = Peaks(index)
        self._known: LiveKnown | None = None
        self._looked = self._saved = -1
        self._retry_at = float("-inf")
        self._dropped = 0
        self._said: set[str] = set()
        self._counted: set[tuple[str, Phase]] = set()

    async def read_back(self, store: Store) -> None:
        """Take up what was open when the collector ended, and the fault codes until then."""
        site, now = self._index.site, int(self._clock())
        recent = await store.points(
            "event",
            points.MEASUREMENT,
            start_seconds=now - WINDOW_SECONDS,
            end_seconds=now + WINDOW_SECONDS,
        )
        self._sight.add_xids(told_in(recent, site))
        found = await last_points(store, lambda point: points.is_alert(point, site), now)
        restored, bad = points.last_states(found)
        if bad:
            _LOG.warning("%d alerts cannot be read back, and begin anew", bad)
        if restored:
            _LOG.info("read back %d open alerts", len(restored))
        self.book.restore(restored)

    def add(self, entry: Entry) -> None:
        """Take what an entry says of single devices and of sensors."""
        if entry.xids:
            self._sight.add_xids(told(entry.node, entry.start_seconds, entry.xids))
        # Hardly any entry has either.
        if entry.sensors or Table in map(type, entry.rows):
            self._sight.add(entry)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except StoreUnavailableError as error:
                # The writer tells of the outage; budgets are looked at again a minute later.
                _LOG.debug("budgets wait for the store: %s", error)
            except Exception:  # noqa: BLE001 - a fault here must not end what is collected
                self._telemetry.bug("alerts")
            await tick(_TICK_SECONDS)

    async def look(self) -> None:
        """Look at what is new since the last time."""
        now = self._clock()
        # First, so that a transition of the same second takes the place of a state.
        self._save(now)
        if await self._sight.follow(now):
            subjects = frozenset(value for key in self.book.open for _, value in key.labels)
            self._known = await self._sight.known(
                now, groups=self._needs_groups(now), own=self._own(), still_open=subjects
            )
            self._look_live(self._known, now)
            self._peaks.see(self._known)
            self._write_all(figures.live_points(self._known))
        self._count()
        quarter = int(now - _SUMMED_SECONDS) // QUARTER
        if quarter != self._looked and not 0 < self._retry_at - now <= _RETRY_SECONDS:
            self._retry_at = now + _RETRY_SECONDS
            if await self._look_quarters(now):
                self._looked = quarter
            self._count()

    def _look_live(self, known: LiveKnown, now: float) -> None:
        for always in ALWAYS:
            self._observe(always.rule, partial(always.look, known), now)
        for rule, threshold in self._watches(now):
            function = LIVE.get(threshold.kind)
            if function is not None:
                self._observe(rule, partial(function, threshold, known), now)

    async def _look_quarters(self, now: float) -> bool:
        """Look at what is summed by quarters; tell whether all of the history was there."""
        model, dated = self._index.model, self._index.dated
        commitments = dated.commitment.at(now).values()
        budgets = self._budgets(now)
        begins = [
            *(spend.use_begins(self._index, commitment, now)[0] for commitment in commitments),
            *(spend.spend_begins(self._index, budget, now) for budget in budgets),
        ]
        # Dates need no sums, so they are looked at first: the store may be away.
        self._look_at_thresholds(QuarterKnown(at_seconds=now, model=model), _DATED_KINDS)
        self._forget_rules(now)
        whole = not begins or await self._kept.read(self._store, min(begins), now)
        uses = spend.uses_of(self._index, self._kept, now)
        known = QuarterKnown(at_seconds=now, model=model, uses=uses)
        self._look_at_thresholds(known, _SUMMED_KINDS)
        for budget in budgets:
            self._look_at_budget(budget, now)
        self._write_all(figures.commitment_points(self._index.site, uses))
        if self._known is not None:
            self._write(figures.site_point(self._known))
            peaks = await self._peaks.year(self._store, now)
            self._write_all(self._peaks.points(now))
            self._write_all(plans.plan_points(self._known, peaks))
        return whole

    def _look_at_thresholds(self, known: QuarterKnown, kinds: Collection[ThresholdKind]) -> None:
        now = known.at_seconds
        for rule, threshold in self._watches(now):
            if threshold.kind in kinds:
                look = partial(QUARTERLY[threshold.kind], threshold, known)
                self._observe(rule, look, now)

    def _look_at_budget(self, budget: Budget, now: float) -> None:
        known = self._known
        live = spend.LiveWindow(0.0, {})
        if known is not None:
            live = spend.LiveWindow(known.window.seconds, known.groups)
        model = self._index.model
        found = spend.spend_of(self._index, budget, self._kept, live, now)
        self._say_lowered(budget, found.most_ratio)
        looked = look_at(budget, found, site=model.name, currency=model.currency)
        for seen in looked:
            self._observe(seen.rule, partial(list, [seen.observation]), now)
        self._write_all(figures.budget_points(model.name, budget, found, looked))

    def _write_all(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._write(row)

    def _say_lowered(self, budget: Budget, most_ratio: float | None) -> None:
        for burn, threshold in zip(budget.burn, burn_thresholds(budget, most_ratio), strict=True):
            said = f"budget {budget.name}, burn over {burn.long:g} s: {threshold.reason}"
            if threshold.reason is not None and said not in self._said:
                self._said.add(said)
                _LOG.warning("%s", said)

    def _thresholds(self, now: float) -> list[Threshold]:
        in_force = self._index.dated.threshold.at(now).values()
        return [threshold for threshold in in_force if self._is_here(threshold.scope)]

    def _watches(self, now: float) -> list[Watch]:
        return watches(self._thresholds(now))

    def _budgets(self, now: float) -> list[Budget]:
        in_force = self._index.dated.budget.at(now).values()
        return [budget for budget in in_force if self._is_here(budget.scope)]

    def _is_here(self, scope: Scope) -> bool:
        return scope.site in {None, self._index.site}

    def _needs_groups(self, now: float) -> bool:
        """Tell whether anything is held against parts of the site, or is taken out by tenant."""
        return (
            bool(self._budgets(now))
            or any(threshold.kind in LIVE for threshold in self._thresholds(now))
            or any(contract.outage for contract in self._index.dated.contract.at(now).values())
        )

    def _forget_rules(self, now: float) -> None:
        names = {always.rule.name for always in ALWAYS}
        names |= {watch.rule.name for watch in self._watches(now)}
        names |= {rule.name for budget in self._budgets(now) for rule in budget_rules(budget)}
        for name in self.looked.keys() - names:
            del self.looked[name]
        self._note(self.book.keep_only(names, now))

    def _observe(self, rule: Rule, look: Callable[[], list[Observation]], now: float) -> None:
        """Look by one rule; one that fails must not end the others."""
        try:
            observations = look()
        except Exception:  # noqa: BLE001 - see above
            self._telemetry.bug(f"alerts_{rule.kind}")
            return
        self.looked[rule.name] = Looked(rule, tuple(observations))
        self._note(self.book.observe(rule, observations, now))

    def _note(self, transitions: Iterable[Transition]) -> None:
        for transition in transitions:
            self._write(points.transition_point(self._index.site, transition))
            if transition.state.phase == "firing":
                _LOG.warning("alert fires: %s", _told(transition))
            elif transition.before == "firing":
                _LOG.info("alert is over: %s", _told(transition))
            self._tell(transition)

    def _save(self, now: float) -> None:
        """Write down in each quarter where every open alert stands."""
        quarter = int(now) // QUARTER
        if quarter != self._saved:
            self._saved = quarter
            for key, entry in self.book.open.items():
                self._write(points.state_point(self._index.site, key, entry, now))

    def _count(self) -> None:
        open_now = Counter((e.rule.kind, e.state.phase) for e in self.book.open.values())
        # A kind of which none is open any more says so.
        self._counted |= open_now.keys()
        for kind, phase in self._counted:
            self._telemetry.alerts.labels(kind, phase).set(open_now[kind, phase])
        self._telemetry.alerts_dropped.inc(self.book.dropped - self._dropped)
        self._dropped = self.book.dropped


def _told(transition: Transition) -> str:
    about = ", ".join(f"{name}={value}" for name, value in transition.key.labels)
    state = transition.state
    reason = "" if transition.reason is None else f"; {transition.reason}"
    return (
        f"{transition.rule.name} ({about}): {state.value:g} {transition.unit},"
        f" limit {state.limit:g}{reason}"
    )
