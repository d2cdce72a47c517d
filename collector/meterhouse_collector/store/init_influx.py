"""Makes the buckets and the least tokens that the collector and Grafana need in InfluxDB 2."""

import asyncio
import os
import tempfile
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from msgspec import Struct
from pydantic import SecretStr

from meterhouse_collector.rows import POLICY_DAYS, Policy
from meterhouse_collector.store import StoreUnavailableError
from meterhouse_collector.store.config import InfluxConfig

# A bucket drops whole shards: of a day where a month is kept, so that it keeps little more;
# larger where years are kept, so that a query over a year opens few.
SHARD_DAYS: Final[dict[Policy, int]] = {
    "detail": 1,
    "ledger": 1,
    "quarter": 30,
    "live": 1,
    "kept": 90,
    "event": 30,
    "part": 1,
}
_DAY_SECONDS: Final = 86_400
_PAGE: Final = 100
_OWNER_ONLY: Final = 0o600
_Permission = tuple[str, str]


class _Rule(Struct, rename="camel"):
    every_seconds: int = 0
    shard_group_duration_seconds: int = 0


class _Bucket(Struct, rename="camel"):
    id: str
    name: str
    retention_rules: list[_Rule] = []

    def rule(self) -> _Rule:
        return self.retention_rules[0] if self.retention_rules else _Rule()


class _Resource(Struct):
    type: str
    id: str | None = None


class _Grant(Struct):
    action: str
    resource: _Resource


class _Authorization(Struct):
    id: str
    token: str = ""
    status: str = ""
    description: str = ""
    permissions: list[_Grant] = []

    def grants_exactly(self, wanted: set[_Permission]) -> bool:
        """Tell whether it is in force and allows just what is wanted, on buckets alone."""
        grants = {(grant.action, grant.resource.id or "all") for grant in self.permissions}
        kinds = {grant.resource.type for grant in self.permissions}
        return self.status == "active" and kinds == {"buckets"} and grants == wanted


class _Org(Struct):
    id: str


class _Orgs(Struct):
    orgs: list[_Org] = []


class _Buckets(Struct):
    buckets: list[_Bucket] = []


class _Authorizations(Struct):
    authorizations: list[_Authorization] = []


class _Message(Struct):
    message: str = ""


class _Api:
    """The server's management interface, as the operator."""

    def __init__(self, config: InfluxConfig, session: aiohttp.ClientSession, token: str) -> None:
        self._config = config
        self._session = session
        self._headers = {"Authorization": f"Token {token}"}

    async def call(self, method: str, path: str, **arguments: Any) -> bytes:  # noqa: ANN401 - of aiohttp
        """Return what the server answered; raise ``StoreUnavailableError`` for an error."""
        what = f"{method} {path} at {self._config.url}"
        try:
            async with (
                asyncio.timeout(self._config.timeout),
                self._session.request(
                    method,
                    f"{self._config.url}/api/v2/{path}",
                    headers=self._headers,
                    allow_redirects=False,
                    **arguments,
                ) as response,
            ):
                body = await response.read()
        except TimeoutError:
            timeout = self._config.timeout
            raise StoreUnavailableError(f"{what}: no answer in {timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise StoreUnavailableError(f"{what}: {error}: check that the server runs") from None
        if response.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise StoreUnavailableError(
                f"{what}: {response.status} {_message(body)}: give the token of an operator"
            )
        if not response.ok or response.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise StoreUnavailableError(f"{what}: {response.status} {_message(body)}")
        return body


async def init_influx(
    config: InfluxConfig,
    operator_token: SecretStr,
    *,
    collector_token_file: Path,
    grafana_token_file: Path,
    policy_days: Mapping[Policy, int] = POLICY_DAYS,
) -> list[str]:
    """Make what is missing and correct what differs; return a line for each thing.

    The token in ``config`` is not used. Raises ``StoreUnavailableError`` where the server or a
    file refuses; run again, it goes on from there.
    """
    async with aiohttp.ClientSession(connector=await _connector(config)) as session:
        api = _Api(config, session, operator_token.get_secret_value())
        body = await api.call("GET", "orgs", params={"org": config.org})
        orgs = msgspec.json.decode(body, type=_Orgs).orgs
        if not orgs:
            what = f"finding organization {config.org} at {config.url}"
            raise StoreUnavailableError(f"{what}: this token does not show it: give an operator's")
        org_id = orgs[0].id
        there = await _buckets(api, org_id)
        lines = []
        ids = []
        for policy, days in policy_days.items():
            name = f"{config.database}/{policy}"
            shard_days = min(SHARD_DAYS[policy], days)
            wanted = _Rule(days * _DAY_SECONDS, shard_days * _DAY_SECONDS)
            bucket_id, said = await _bucket(api, org_id, name, there.get(name), wanted)
            ids.append(bucket_id)
            lines.append(said)
        for user, actions, file in (
            ("collector", ("read", "write"), collector_token_file),
            ("grafana", ("read",), grafana_token_file),
        ):
            grants = {(action, bucket_id) for action in actions for bucket_id in ids}
            description = f"{config.database} {user}"
            lines += await _token(api, org_id, description, grants, file)
        return lines


async def _connector(config: InfluxConfig) -> aiohttp.TCPConnector:
    try:
        context = await asyncio.to_thread(config.ssl_context)
    except OSError as error:
        raise StoreUnavailableError(f"reading ca_file {config.ca_file}: {error}") from None
    return aiohttp.TCPConnector(ssl=context)


async def _buckets(api: _Api, org_id: str) -> dict[str, _Bucket]:
    """Return all buckets by name: asked for one it lacks, the server would log an error."""
    found: dict[str, _Bucket] = {}
    last: dict[str, str] = {}
    while True:
        wish = {"orgID": org_id, "limit": str(_PAGE), **last}
        page = msgspec.json.decode(await api.call("GET", "buckets", params=wish), type=_Buckets)
        found |= {bucket.name: bucket for bucket in page.buckets}
        if len(page.buckets) < _PAGE:
            return found
        last = {"after": page.buckets[-1].id}


async def _bucket(
    api: _Api, org_id: str, name: str, bucket: _Bucket | None, wanted: _Rule
) -> tuple[str, str]:
    """Make or correct one bucket; return its id and what was done."""
    rules = [{"type": "expire", **msgspec.to_builtins(wanted)}]
    kept = f"kept {_days(wanted.every_seconds)}"
    if bucket is None:
        wish = {"orgID": org_id, "name": name, "retentionRules": rules}
        made = msgspec.json.decode(await api.call("POST", "buckets", json=wish), type=_Bucket)
        return made.id, f"bucket {name}: made, {kept}"
    rule = bucket.rule()
    if rule == wanted:
        return bucket.id, f"bucket {name}: as it should be, {kept}"
    await api.call("PATCH", f"buckets/{bucket.id}", json={"retentionRules": rules})
    was, shards_were = (_days(rule.every_seconds), _days(rule.shard_group_duration_seconds))
    shards = f"shards of {_days(wanted.shard_group_duration_seconds)} (were of {shards_were})"
    return bucket.id, f"bucket {name}: corrected, {kept} (was {was}), {shards}"


async def _token(
    api: _Api, org_id: str, description: str, wanted: set[_Permission], file: Path
) -> list[str]:
    """Keep the token in the file where it is right, or put a new one there."""
    body = await api.call("GET", "authorizations", params={"orgID": org_id})
    known = msgspec.json.decode(body, type=_Authorizations).authorizations
    text = await asyncio.to_thread(_read, file)
    owned = [one for one in known if text and one.token == text]
    if owned and owned[0].grants_exactly(wanted):
        if await asyncio.to_thread(_close_to_others, file):
            return [f"token {description}: in {file}, now readable by its owner alone"]
        return [f"token {description}: as it should be, in {file}"]
    permissions = [
        {"action": action, "resource": {"type": "buckets", "id": bucket_id, "orgID": org_id}}
        for action, bucket_id in sorted(wanted)
    ]
    wish = {"orgID": org_id, "description": description, "permissions": permissions}
    made = msgspec.json.decode(
        await api.call("POST", "authorizations", json=wish), type=_Authorization
    )
    try:
        await asyncio.to_thread(_replace, file, made.token)
    except StoreUnavailableError:
        await api.call("DELETE", f"authorizations/{made.id}")
        raise
    because = "" if text is None else ", for the one there was not valid"
    lines = [f"token {description}: made, in {file}{because}"]
    # Of the same name, it was made here; any other token may serve somebody else.
    for old in owned:
        if old.description == description:
            await api.call("DELETE", f"authorizations/{old.id}")
            lines.append(f"token {description}: revoked the one that was in {file}")
    return lines


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreUnavailableError(f"reading token file {file}: {error}") from None


def _close_to_others(file: Path) -> bool:
    """Take the file from all but its owner; tell whether that was needed."""
    if file.stat().st_mode & 0o777 == _OWNER_ONLY:
        return False
    file.chmod(_OWNER_ONLY)
    return True


def _replace(file: Path, token: str) -> None:
    """Write a token so that the file is whole at any time, and never readable by others."""
    try:
        descriptor, made = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as writer:
                writer.write(f"{token}\n")
                writer.flush()
                os.fsync(writer.fileno())
            Path(made).replace(file)
        except OSError:
            Path(made).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreUnavailableError(f"writing token file {file}: {error.strerror}") from None


def _message(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Message).message[:500]
    except msgspec.MsgspecError:
        return body.decode(errors="replace")[:500]


def _days(seconds: int) -> str:
    return f"{seconds / _DAY_SECONDS:g} d" if seconds else "for ever"
