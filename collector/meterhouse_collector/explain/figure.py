"""A figure from what was read: computed again, beside what is stored, split over things. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import isclose
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.explain.evidence import Evidence
from meterhouse_collector.explain.lines import Asked, lines, missing_share, silent
from meterhouse_collector.explain.model import Explanation, FieldSum, Money, Side, Stored
from meterhouse_collector.explain.request import ROWS, ExplainError, NoRowsError, matches
from meterhouse_collector.explain.sides import Recorded, number, parse
from meterhouse_collector.kpi.catalogue import ROLLUP_FIELDS
from meterhouse_collector.kpi.compute import Window, kpi, lacks
from meterhouse_collector.kpi.jointly import MISSING_SHARE_MAX
from meterhouse_collector.kpi.pue import energy_basis
from meterhouse_collector.kpi.token_cost import TOKENS_PER_UNIT
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.money.energy import JOULES_PER_KWH
from meterhouse_collector.money.kinds import JOULES_KINDS
from meterhouse_collector.rollup.contributions import Contributions, contributions
from meterhouse_collector.rollup.pricing import Sums, drawn_joules
from meterhouse_collector.rollup.roll_up import add_sums
from meterhouse_collector.settlement.outages import downtime_notes, outage_notes
from meterhouse_collector.site.base import until_next
from meterhouse_collector.site.index import GroupKey, SiteIndex

_SCALES: Final = {
    "per million tokens": TOKENS_PER_UNIT,
    "per megawatt": 1e6,
    "per kWh": JOULES_PER_KWH,
}
SAME_RATIO: Final = 1e-9
_FIELDS: Final = {field.name: field for field in ROLLUP_FIELDS}
_BY_STATE: Final = frozenset(f"{state}_seconds" for state in wire.STATES)
_OF_THE_SITE: Final = "facility_joint_joules"
# It says why there is no price, and is of devices where the lines are of engines.
_NO_PART: Final = frozenset({"unpriced_seconds"})
_SIDES: Final = {"delivered_ratio": "sold", "bought_delivered_ratio": "bought"}
Groups = Mapping[GroupKey, Sums]


def explained(
    name: str, evidence: Evidence, index: SiteIndex, wanted: Mapping[str, str]
) -> Explanation:
    """Return one KPI of one window with all that it came from.

    Raises ``ExplainError`` where it has no group, ``NoRowsError`` where no group has these tags.
    """
    row = ROWS[name]
    numerator, denominator = parse(row.numerator), parse(row.denominator)
    if wanted.keys() - {"site"} and _OF_THE_SITE in numerator.names:
        raise ExplainError(f"{name} is of the whole site and of no group: leave out --group")
    found = contributions(evidence.rows, index, evidence.expected, evidence.rates, evidence.dues)
    total = _total(found.groups, wanted, evidence)
    value, read = _value(name, total, evidence, index)
    sides = (*numerator.names, *denominator.names)
    counted = (n for n in read if n.endswith(("seconds", "joules")) and n not in _NO_PART)
    asked = Asked(numerator, denominator, tuple(dict.fromkeys((*sides, *counted))), wanted)
    stored = None if evidence.stored is None else _selected(evidence.stored, wanted)
    unit_of = {n: _FIELDS[n].unit for n in sides}
    return Explanation(
        kpi=name,
        site=index.site,
        group=dict(wanted),
        label=value.label,
        unit=value.unit,
        value=value.value,
        reason=value.reason,
        low=value.low,
        high=value.high,
        coverage=value.coverage,
        formula=row.formula,
        source=row.source,
        period=evidence.period,
        rows_from=evidence.rows_from,
        scale=_scale(value.unit),
        numerator=Side(
            expression=row.numerator,
            value=value.numerator,
            unit=_unit(unit_of[numerator.names[0]], index),
            fields=tuple(_field(n, total, stored, index) for n in numerator.names),
        ),
        denominator=Side(
            expression=row.denominator,
            value=value.denominator,
            unit=_unit(unit_of[denominator.names[0]], index),
            fields=tuple(_field(n, total, stored, index) for n in denominator.names),
        ),
        also_read=tuple(_field(n, total, stored, index) for n in read if n not in sides),
        stored=_stored(name, (total, stored), evidence, index),
        notes=(
            *evidence.notes,
            *_notes(asked, found, value, total),
            *_downtimes(asked, evidence, index),
            *_outages(name, evidence, index),
        ),
        things=tuple(lines(found.things, asked, evidence, found)),
        silent=silent(evidence, index),
        money=_money(asked, found, evidence, index),
    )


def _total(sums: Groups, wanted: Mapping[str, str], evidence: Evidence) -> Sums:
    if wanted and not any(matches(group, wanted) for group in sums):
        text = " and ".join(f"{tag}={value}" for tag, value in wanted.items())
        there = "; ".join(
            f"{tag}: {', '.join(sorted({getattr(group, tag) for group in sums}))}" for tag in wanted
        )
        raise NoRowsError(f"no group has {text} in {evidence.period.local}; there are {there}")
    return _selected(sums, wanted)


def _selected(sums: Groups, wanted: Mapping[str, str]) -> Sums:
    return add_sums(fields for group, fields in sums.items() if matches(group, wanted))


def _value(
    name: str, sums: Sums, evidence: Evidence, index: SiteIndex
) -> tuple[KpiValue, tuple[str, ...]]:
    length = evidence.rows.length_seconds
    start = evidence.rows.start_seconds
    basis = energy_basis(index, (start, start + length))
    window = Window(seconds=float(length), basis=basis, currency=index.model.currency)
    recorded = Recorded(sums)
    value = kpi(name, recorded, window=window)
    if lacks(name, window) is not None:
        # Without a basis it is not divided, but what is there still adds up.
        row = ROWS[name]
        over, under = (parse(side).value(recorded) for side in (row.numerator, row.denominator))
        value = replace(value, numerator=over, denominator=under)
    return value, tuple(recorded.names)


def _scale(unit: str) -> float:
    for word, scale in _SCALES.items():
        if word in unit:
            return scale
    return 1.0


def _field(name: str, total: Sums, stored: Sums | None, index: SiteIndex) -> FieldSum:
    field = _FIELDS[name]
    return FieldSum(
        name=name,
        unit=index.model.currency if field.unit == "currency" else field.unit,
        meaning=field.meaning,
        value=total[name],
        stored=None if stored is None else stored[name],
    )


def _unit(unit: str, index: SiteIndex) -> str:
    return {"joules": "J", "currency": index.model.currency}.get(unit, unit)


def _stored(
    name: str, sums: tuple[Sums, Sums | None], evidence: Evidence, index: SiteIndex
) -> Stored:
    total, stored = sums
    if stored is None:
        notes = evidence.stored_notes or ("nothing is stored of this window yet",)
        return Stored(place=evidence.stored_at, found=False, same=False, value=None, notes=notes)
    value, read = _value(name, stored, evidence, index)
    off = [n for n in read if not isclose(total[n], stored[n], rel_tol=SAME_RATIO, abs_tol=1e-9)]
    told = [*evidence.stored_notes]
    told += [f"{n}: stored {number(stored[n])}, from rows {number(total[n])}" for n in off]
    if off and not evidence.stored_notes:
        told.append("no mark is open and the site model is the same: it was known less when stored")
    return Stored(
        place=evidence.stored_at, found=True, same=not off, value=value.value, notes=tuple(told)
    )


def _notes(asked: Asked, found: Contributions, value: KpiValue, total: Sums) -> Iterator[str]:
    if asked.of_energy:
        sides = (("facility", found.branches.facility), ("IT", found.branches.it))
        for word, branches in sides:
            missing = missing_share(branches)
            if not branches:
                yield f"the {word} side has no meter"
            elif missing is None:
                yield f"the {word} side does not count: a branch has a gap of unknown size"
            elif missing > MISSING_SHARE_MAX:
                yield (
                    f"the {word} side does not count: {missing:.2%} of its expected energy is "
                    f"missing, {MISSING_SHARE_MAX:.0%} may be"
                )
    plain = asked.numerator.value(total)
    if isclose(plain, value.numerator, rel_tol=SAME_RATIO, abs_tol=1e-9):
        return
    if asked.of_energy:
        yield (
            f"the value is what the landlord states: {number(value.numerator)} J of facility energy"
            f" for {number(value.denominator)} J of IT energy"
        )
    else:
        yield f"free less stranded counts as none where that is below 0: not {number(plain)}"


def _downtimes(asked: Asked, evidence: Evidence, index: SiteIndex) -> Iterator[str]:
    """Yield what was said to be down, where the figure goes by the states of devices."""
    if not _BY_STATE.isdisjoint((*asked.numerator.names, *asked.denominator.names)):
        begins = evidence.rows.start_seconds
        yield from downtime_notes(index.model, (begins, begins + evidence.rows.length_seconds))


def _outages(name: str, evidence: Evidence, index: SiteIndex) -> Iterator[str]:
    """Yield what was planned or caused by a tenant: it is in the figure, whatever is excluded."""
    begins = evidence.rows.start_seconds
    window = begins, begins + evidence.rows.length_seconds
    side = _SIDES.get(name)
    contracts = until_next(index.model.contract, lambda each: each.name)
    told = [n for c in contracts if c.side == side for n in outage_notes(index.model, c, window)]
    yield from told
    if told:
        yield "this figure counts all of it as not delivered; a statement shows it without as well"


def _money(
    asked: Asked, found: Contributions, evidence: Evidence, index: SiteIndex
) -> Money | None:
    if not any(name.endswith("_money") for name in asked.numerator.names):
        return None
    nodes = asked._replace(
        denominator=parse(asked.numerator.text.replace("_money", "_drawn_joules")),
        fields=tuple(
            name
            for money in asked.numerator.names
            for name in (
                money,
                money.replace("_money", "_accrued_money"),
                money.replace("_money", "_drawn_joules"),
            )
        ),
    )
    due = {kind: getattr(found.dues, kind) for kind in JOULES_KINDS}
    return Money(
        currency=index.model.currency,
        due_money={kind: money for kind, money in due.items() if money is not None},
        due_from=evidence.dues_from,
        billed_joules=found.groups[index.site_group]["billed_joules"],
        drawn_joules=drawn_joules(found.groups.values()),
        accruals=evidence.accruals,
        bill=evidence.bill,
        nodes=tuple(lines(found.serving_nodes, nodes, evidence, found)),
    )
