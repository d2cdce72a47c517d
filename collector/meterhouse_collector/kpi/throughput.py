"""Tokens by kind, tokens per second, and one count of them where several systems count."""

from collections.abc import Sequence
from math import fsum
from typing import Final, Literal, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative, share
from meterhouse_collector.kpi.parts import not_above, ratio, reasoned
from meterhouse_collector.kpi.value import Reasoned


class TokenKinds(NamedTuple):
    """Tokens of one window by kind; None is a kind that the engine does not tell apart."""

    input_tokens: float
    computed_input_tokens: float | None
    output_tokens: float
    answer_tokens: float | None
    all_tokens: float
    computed_tokens: float | None
    draft_accepted_ratio: float | None


def token_kinds(
    *,
    input_tokens: float,
    output_tokens: float,
    cached_input_tokens: float | None = None,
    reasoning_tokens: float | None = None,
    draft_tokens: float | None = None,
    accepted_draft_tokens: float | None = None,
) -> TokenKinds:
    """Return tokens by kind: input includes what was cached, output includes reasoning.

    computed = input - cached + output; answer = output - reasoning; drafts of speculative decoding
    are no output, and those accepted are in it already (reference 4.9). Raises ``ValueError`` for
    a subset larger than what it is a part of.
    """
    not_negative(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=cached_input_tokens,
        reasoning_tokens=reasoning_tokens,
        draft_tokens=draft_tokens,
        accepted_draft_tokens=accepted_draft_tokens,
    )
    not_above(input_tokens, "input_tokens", cached_input_tokens=cached_input_tokens)
    not_above(output_tokens, "output_tokens", reasoning_tokens=reasoning_tokens)
    accepted = None
    if draft_tokens is not None and accepted_draft_tokens is not None:
        not_above(draft_tokens, "draft_tokens", accepted_draft_tokens=accepted_draft_tokens)
        accepted = ratio(accepted_draft_tokens, draft_tokens)
    computed = None if cached_input_tokens is None else input_tokens - cached_input_tokens
    return TokenKinds(
        input_tokens=input_tokens,
        computed_input_tokens=computed,
        output_tokens=output_tokens,
        answer_tokens=None if reasoning_tokens is None else output_tokens - reasoning_tokens,
        all_tokens=input_tokens + output_tokens,
        computed_tokens=None if computed is None else computed + output_tokens,
        draft_accepted_ratio=accepted,
    )


def token_throughput(
    *,
    counted_tokens: float,
    measured_seconds: float,
    counted_at: Literal["step", "completion"] = "step",
    request_p99_seconds: float | None = None,
) -> Reasoned:
    """Return tokens per second: increase of the counter / seconds measured (reference 1.5).

    Seconds in which nothing was measured are in neither, and nothing is extrapolated (4.4). An
    engine that counts at completion shows a long generation as nothing and then as a burst: the
    window must be as long as its 99th percentile of request time (4.9). Raises ``ValueError`` for
    an amount that is negative or no number.
    """
    not_negative(
        counted_tokens=counted_tokens,
        measured_seconds=measured_seconds,
        request_p99_seconds=request_p99_seconds,
    )
    if measured_seconds == 0:
        return Reasoned(None, "nothing was measured")
    if counted_at == "completion":
        if request_p99_seconds is None:
            return Reasoned(None, "tokens are counted at completion, request time is not known")
        if measured_seconds < request_p99_seconds:
            return Reasoned(
                None,
                f"tokens are counted at completion: {measured_seconds:g} s are shorter than"
                f" requests take, {request_p99_seconds:g} s",
            )
    return Reasoned(counted_tokens / measured_seconds)


def busy_speed(*, counted_tokens: float, busy_seconds: float) -> Reasoned:
    """Return tokens per second of busy time, which is speed and not throughput.

    llama.cpp's ``*_seconds_total`` are busy time (reference 3.6; vector LLAMACPP-RATE). Raises
    ``ValueError`` for an amount that is negative or no number.
    """
    not_negative(counted_tokens=counted_tokens, busy_seconds=busy_seconds)
    return reasoned(counted_tokens, busy_seconds, "it never was busy")


class Worker(NamedTuple):
    """What one worker of an engine counted, and whether it prefills, decodes, or does both."""

    role: Literal["whole", "prefill", "decode"]
    input_tokens: float
    output_tokens: float


class ServedTokens(NamedTuple):
    """The tokens of a served model, each counted once."""

    input_tokens: float | None
    output_tokens: float | None
    reason: str | None = None


def served_tokens(*, workers: Sequence[Worker]) -> ServedTokens:
    """Return prompts as counted at prefill and output as counted at decode.

    Both kinds of worker expose both counters where prefill and decode are apart (reference 4.11).
    Workers that see only one side say nothing of the other. Raises ``ValueError`` for an amount
    that is negative or no number.
    """
    for worker in workers:
        not_negative(input_tokens=worker.input_tokens, output_tokens=worker.output_tokens)
    read = [w.input_tokens for w in workers if w.role != "decode"]
    written = [w.output_tokens for w in workers if w.role != "prefill"]
    missing = [name for name, each in (("prefills", read), ("decodes", written)) if not each]
    return ServedTokens(
        input_tokens=fsum(read) if read else None,
        output_tokens=fsum(written) if written else None,
        reason=f"no worker that {' or '.join(missing)}" if missing else None,
    )


class Reconciled(NamedTuple):
    """The count that bills, how far the other count is from it, and whether that alerts."""

    billed_tokens: float
    difference_tokens: float
    difference_ratio: float | None
    alerts: bool
    reason: str | None = None


def reconcile_tokens(
    *, basis_tokens: float, check_tokens: float, tolerance_ratio: float
) -> Reconciled:
    """Return the tokens of the billing basis and their difference from the other count.

    Gateway and engine see the same tokens: one bills, the other checks, they never add up
    (reference 4.11). The ratio is of the basis. Raises ``ValueError`` for an amount that is
    negative or no number.
    """
    not_negative(basis_tokens=basis_tokens, check_tokens=check_tokens)
    share(tolerance_ratio=tolerance_ratio)
    difference = check_tokens - basis_tokens
    return Reconciled(
        billed_tokens=basis_tokens,
        difference_tokens=difference,
        difference_ratio=ratio(difference, basis_tokens),
        alerts=abs(difference) > tolerance_ratio * basis_tokens,
        reason=None if basis_tokens > 0 else "the basis counted no tokens",
    )


KPIS: Final = (
    Kpi(
        "token_kinds",
        "by name",
        "tokens by kind",
        "1",
        "computed = input - cached + output; answer = output - reasoning",
        "reference 4.9",
    ),
    Kpi(
        "token_throughput",
        "tokens per second",
        "counted_tokens",
        "measured_seconds",
        "tokens / measured seconds",
        "reference 1.5, 4.4 and 4.9",
    ),
    Kpi(
        "busy_speed",
        "tokens per second",
        "counted_tokens",
        "busy_seconds",
        "tokens / busy seconds",
        "llama.cpp server, README",
    ),
    Kpi(
        "served_tokens",
        "by name",
        "input_tokens at prefill; output_tokens at decode",
        "1",
        "each token once",
        "reference 4.11",
    ),
    Kpi(
        "reconcile_tokens",
        "by name",
        "check_tokens - basis_tokens",
        "basis_tokens",
        "difference of two counts of the same tokens",
        "reference 4.11",
    ),
)
