"""What a month of a contract comes to: its rate, less what take-or-pay and credits leave. Pure."""

from decimal import Decimal
from math import fsum
from typing import Final, Literal, NamedTuple

from meterhouse_collector.money.contract import take_or_pay
from meterhouse_collector.money.decimals import CONTEXT, add, exact
from meterhouse_collector.money.delivery import CreditStep, service_credit_money
from meterhouse_collector.settlement.outages import counted_all
from meterhouse_collector.settlement.traded import Delivered, Quarters
from meterhouse_collector.site.contracts import CapacityContract
from meterhouse_collector.site.model import SiteModel

_HOUR_SECONDS: Final = 3600


class MonthDue(NamedTuple):
    """Money in the site's currency; ``low`` takes units of unknown state as down."""

    rate: Decimal
    low: Decimal
    high: Decimal
    credit: Decimal


def month_due(
    model: SiteModel, contract: CapacityContract, rate_money: Decimal, quarters: Quarters
) -> MonthDue:
    """Return what a month comes to: what is paid goes by delivery, what is credited by what counts.

    So an hour of maintenance is no loss, and is no hour delivered either.
    """
    hours = _hours(quarters)
    contracted = [exact(each.contracted) for each in hours]
    price = CONTEXT.divide(rate_money, add(contracted))
    steps = [CreditStep(s.below_ratio, s.credit_ratio) for s in contract.credit]
    counts = counted_all(model, contract, quarters)
    dues: list[Decimal] = []
    credits_: list[Decimal] = []
    for delivered, counting in (
        ([exact(each.delivered) for each in hours], counts.low),
        (
            [exact(min(each.contracted, each.delivered + each.undetermined)) for each in hours],
            counts.high,
        ),
    ):
        billed = take_or_pay(
            delivered_hours=delivered,
            committed_hours=contracted,
            floor_ratio=contract.take_or_pay_ratio,
            price_money_per_hours=price,
            model=_model_of(model, contract),
        ).billed_money
        # Where all of it is excluded, nothing was due, and nothing is lost.
        due = exact(counts.due)
        availability = min(Decimal(1), CONTEXT.divide(exact(counting), due)) if due else Decimal(1)
        credit = service_credit_money(
            availability_ratio=availability, fee_money=rate_money, steps=steps
        )
        dues.append(CONTEXT.subtract(billed, credit))
        credits_.append(credit)
    return MonthDue(rate_money, dues[0], dues[1], credits_[0])


def _hours(quarters: Quarters) -> list[Delivered]:
    """Gather the quarter hours of each hour, which is the shortest that a contract settles by."""
    hours: dict[int, list[Delivered]] = {}
    for start, found in quarters.items():
        hours.setdefault(start // _HOUR_SECONDS, []).append(found)
    return [Delivered(*map(fsum, zip(*parts, strict=True))) for parts in hours.values()]


def _model_of(
    model: SiteModel, contract: CapacityContract
) -> Literal["continuous", "discontinuous"]:
    """Return how a contract settles: by hours where a commitment of it says so, else by months."""
    mine = [each for each in model.commitment if each.contract == contract.name]
    hourly = any(each.model == "continuous" and each.interval == "hour" for each in mine)
    return "continuous" if hourly else "discontinuous"
