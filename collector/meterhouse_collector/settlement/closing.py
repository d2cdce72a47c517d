"""Closed periods: a statement frozen under its number, and what it differs by since.

A frozen account stands in the store as one head row that people can read, and parts of the account
itself, packed, for a string of InfluxDB has 64 KiB. The head is written last, and has the hash of
what the parts hold.
"""

import base64
import hashlib
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

import msgspec
from msgspec import Struct

from meterhouse_agent import wire
from meterhouse_collector.money.decimals import ZERO, add
from meterhouse_collector.money.kinds import KINDS
from meterhouse_collector.rows import PackedRow
from meterhouse_collector.settlement.account import Account, Adjustment, Line
from meterhouse_collector.site.index import GroupKey
from meterhouse_collector.store import Store, StoreUnavailableError

READER: Final = "close"
_MEASUREMENT: Final = "statement"
_PARTS: Final = "statement_part"
_PART_CHARACTERS: Final = 48_000
_FOR_EVER: Final = 2**33


class Head(Struct, frozen=True, kw_only=True):
    """What identifies a frozen statement; ``total`` is None where a price was not known.

    ``ledger_hash`` is of the quarter rows, ``account_hash`` of the account that the parts hold.
    """

    number: int
    period: str
    begins_seconds: int
    ends_seconds: int
    time_zone: str
    closed_at_seconds: int
    currency: str
    total: Decimal | None
    known: Decimal
    adjusted: Decimal
    ledger_hash: str
    model_revision: str
    revision: int
    account_hash: str
    parts: int

    @property
    def window(self) -> tuple[int, int]:
        """Its beginning and end, in Unix seconds."""
        return self.begins_seconds, self.ends_seconds


_HEAD: Final = msgspec.json.Decoder(Head)
_ACCOUNT: Final = msgspec.json.Decoder(Account)
_Part = dict[str, str]
_PART: Final = msgspec.json.Decoder(_Part)


def frozen_rows(account: Account) -> tuple[list[PackedRow], PackedRow]:
    """Return the rows of a closed account: its parts, and the head that is written after them.

    Raise ``ValueError`` for an account that is not closed.
    """
    closing = account.closing
    if closing is None:
        raise ValueError("found an account without a closing, allowed: a closed one")
    body = msgspec.json.encode(account)
    text = base64.b85encode(zlib.compress(body)).decode("ascii")
    pieces = [text[i : i + _PART_CHARACTERS] for i in range(0, len(text), _PART_CHARACTERS)]
    head = Head(
        number=closing.number,
        period=closing.period,
        begins_seconds=account.begins_seconds,
        ends_seconds=account.ends_seconds,
        time_zone=account.time_zone,
        closed_at_seconds=closing.closed_at_seconds,
        currency=account.currency,
        total=None if account.reasons else add((account.known, account.adjusted)),
        known=account.known,
        adjusted=account.adjusted,
        ledger_hash=closing.ledger_hash,
        model_revision=account.model_revision,
        revision=account.revision,
        account_hash=hashlib.sha256(body).hexdigest(),
        parts=len(pieces),
    )
    key = ("kept", account.site, closing.period, account.begins_seconds)
    parts = [
        _row(key, _PARTS, f"{READER}-{number}", msgspec.json.encode({"part": piece}))
        for number, piece in enumerate(pieces)
    ]
    return parts, _row(key, _MEASUREMENT, READER, msgspec.json.encode(head))


def _row(key: tuple[str, str, str, int], measurement: str, reader: str, row: bytes) -> PackedRow:
    _, site, period, begins = key
    return PackedRow("kept", measurement, site, period, reader, begins, row.decode())


async def read_heads(store: Store, site: str) -> list[Head]:
    """Return the heads of all closed periods of a site, in the order of their numbers."""
    found = await store.packed("kept", _MEASUREMENT, start_seconds=0, end_seconds=_FOR_EVER)
    mine = [_HEAD.decode(row.row) for row in found if row.site == site and row.reader == READER]
    return sorted(mine, key=lambda head: head.number)


async def read_frozen(store: Store, site: str, head: Head) -> Account:
    """Return a frozen account; raise ``StoreUnavailableError`` where it is not what was written."""
    begins = head.begins_seconds
    found = await store.packed(
        "kept", _PARTS, start_seconds=begins, end_seconds=begins + 1, thing=head.period
    )
    pieces = {row.reader: _PART.decode(row.row)["part"] for row in found if row.site == site}
    text = "".join(pieces.get(f"{READER}-{number}", "") for number in range(head.parts))
    try:
        body = zlib.decompress(base64.b85decode(text))
    except (ValueError, zlib.error):
        body = b""
    if hashlib.sha256(body).hexdigest() != head.account_hash:
        raise StoreUnavailableError(
            f"statement {head.number} of {head.period} is damaged: put a backup in its place"
        )
    return _ACCOUNT.decode(body)


async def write_frozen(store: Store, account: Account) -> None:
    """Write a closed account, its head last; raise ``StoreUnavailableError`` if it is refused."""
    parts, head = frozen_rows(account)
    for rows in (parts, [head]):
        rejections = await store.write(rows)
        if rejections:
            raise StoreUnavailableError(f"the statement was refused: {rejections[0].reason}")


def differences(
    frozen: Account, made: Iterable[Adjustment], now: Sequence[Line]
) -> tuple[Adjustment, ...]:
    """Return what the lines of a closed period differ by today, less the adjustments made since.

    Raise ``ValueError`` for an account that is not closed.
    """
    closing = frozen.closing
    if closing is None:
        raise ValueError("found an account without a closing, allowed: a closed one")
    open_money: dict[tuple[GroupKey, str, str], list[Decimal]] = defaultdict(list)
    for line in now:
        open_money[line[:3]].append(line.money)
    adjusted = [a.line for a in made if a.number == closing.number]
    for line in (*frozen.lines, *adjusted):
        open_money[line[:3]].append(-line.money)
    money = {key: add(amounts) for key, amounts in open_money.items()}
    order = sorted(
        (key for key, amount in money.items() if amount != ZERO),
        key=lambda key: (key[0], KINDS.index(key[1]), wire.STATES.index(key[2])),
    )
    return tuple(
        Adjustment(closing.period, closing.number, *frozen.window, Line(*key, money[key]))
        for key in order
    )
