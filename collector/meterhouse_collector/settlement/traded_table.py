"""Contracts for capacity and what was sold, as people read them. Pure."""

from collections.abc import Iterator

from meterhouse_collector.money.decimals import add
from meterhouse_collector.settlement.account import Account
from meterhouse_collector.settlement.capacity import ContractTotal
from meterhouse_collector.settlement.columns import NO_VALUE, columns, money_text
from meterhouse_collector.settlement.sales import Sale

_SECONDS_PER_HOUR = 3600.0


def contracts_table(account: Account) -> Iterator[str]:
    """Yield what each contract delivered, and what take-or-pay and credits leave of its rate."""
    if not account.contracts:
        return
    head = ["contract", "side", "with", "contracted h", "delivered h", "at most h", "by rate"]
    rows = [_contract(contract) for contract in account.contracts]
    yield f"Contracts for capacity, {account.currency}; hours are of devices"
    yield from columns(
        [[*head, "due", "at most", "credit at most", "remark"], *rows], texts=3, remark=True
    )


def deliveries_table(account: Account) -> Iterator[str]:
    """Yield the delivered part of each contract, with and without what it excludes."""
    if not account.contracts:
        return
    yield "Delivered of what was contracted, with and without what the contract excludes"
    head = ["contract", "planned h", "tenant-caused h", "excluded h", "delivered", "at most"]
    rows = [_delivery(contract) for contract in account.contracts]
    yield from columns([[*head, "without excluded", "at most"], *rows])


def _delivery(contract: ContractTotal) -> list[str]:
    seconds = (contract.planned_seconds, contract.tenant_caused_seconds, contract.excluded_seconds)
    return [
        contract.name,
        *(f"{each / _SECONDS_PER_HOUR:,.2f}" for each in seconds),
        *(
            NO_VALUE if each is None else f"{each:.4%}"
            for each in (*contract.ratios, *contract.counted_ratios)
        ),
    ]


def _contract(contract: ContractTotal) -> list[str]:
    seconds = (contract.contracted_seconds, contract.low_seconds, contract.high_seconds)
    money = (
        contract.rate_money,
        contract.low_due_money,
        contract.high_due_money,
        contract.high_credit_money,
    )
    remark = contract.reason or ("credit provisional" if contract.provisional else "")
    if contract.rate_money is not None and contract.rate_money != contract.original_rate_money:
        original = f"by rate {money_text(contract.original_rate_money)} {contract.currency}"
        remark = f"{original}; {remark}" if remark else original
    return [
        contract.name,
        contract.side,
        contract.counterparty or contract.tenant,
        *(f"{each / _SECONDS_PER_HOUR:,.2f}" for each in seconds),
        *map(money_text, money),
        remark,
    ]


def sales_table(account: Account) -> Iterator[str]:
    """Yield what was sold to whom."""
    if not account.sales:
        return
    rows = [_sale(sale) for sale in account.sales]
    sums = [
        None if None in column else add(money for money in column if money is not None)
        for column in zip(*((s.low_money, s.high_money) for s in account.sales), strict=True)
    ]
    total = map(money_text, sums)
    yield f"Sold, {account.currency}"
    yield from columns(
        [
            ["tenant", "what", "name", "money", "at most", "remark"],
            *rows,
            ["total", "", "", *total, ""],
        ],
        texts=3,
        remark=True,
    )


def _sale(sale: Sale) -> list[str]:
    money = (money_text(sale.low_money), money_text(sale.high_money))
    return [sale.tenant, sale.what, sale.name, *money, sale.reason or ""]
