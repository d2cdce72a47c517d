"""The state of an alert: when it fires, when it ends, and what changes nothing."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.alerts.book import GONE, Book
from meterhouse_collector.alerts.state import (
    Key,
    Observation,
    Rule,
    State,
    Transition,
    beyond,
    cleared,
    labels,
    step,
)

ABOUT = labels(site="site-a", pool="chat")
RULE = Rule("idle", "idle", "ticket", 300.0)


def seen(value: float | None, **fields: Any) -> Observation:  # noqa: ANN401 - by name
    made = Observation(labels=ABOUT, value=value, limit=0.3, clear=0.2)
    return made._replace(**fields)


def run(
    course: list[tuple[float, Observation]], rule: Rule = RULE
) -> tuple[State | None, list[Transition]]:
    state: State | None = None
    transitions: list[Transition] = []
    for now, observation in course:
        state, made = step(state, observation, rule, now)
        transitions += made
    return state, transitions


def phases(transitions: list[Transition]) -> list[tuple[str, float]]:
    return [(t.state.phase, t.at_seconds) for t in transitions]


def test_it_fires_when_it_has_been_beyond_for_exactly_so_long() -> None:
    _, made = run([(0.0, seen(0.31)), (299.9, seen(0.31))])
    assert phases(made) == [("pending", 0.0)]
    state, made = run([(0.0, seen(0.31)), (299.9, seen(0.31)), (300.0, seen(0.31))])
    assert phases(made) == [("pending", 0.0), ("firing", 300.0)]
    assert state == State("firing", 300.0, 0.31, 0.3)


def test_without_a_duration_it_fires_at_once() -> None:
    _, made = run([(7.0, seen(0.31))], RULE._replace(for_seconds=0.0))
    assert phases(made) == [("firing", 7.0)]
    assert made[0].before == "ok"


def test_the_limit_itself_is_not_beyond_unless_it_is_to_be_reached() -> None:
    assert beyond(seen(0.3)) is False
    assert beyond(seen(0.3, reached=True)) is True
    assert cleared(seen(0.2)) is True
    assert cleared(seen(0.3, clear=None, reached=True)) is False
    below = seen(0.3, side="below", clear=0.4)
    assert beyond(below) is False
    assert beyond(below._replace(value=0.29)) is True
    assert [cleared(below._replace(value=v)) for v in (0.39, 0.4)] == [False, True]


def test_what_is_pending_is_over_as_soon_as_it_is_not_beyond() -> None:
    state, made = run([(0.0, seen(0.31)), (100.0, seen(0.25)), (200.0, seen(0.31))])
    assert phases(made) == [("pending", 0.0), ("ok", 100.0), ("pending", 200.0)]
    assert state is not None
    assert state.since_seconds == 200.0


@given(st.lists(st.floats(0.2000001, 1.0), min_size=1))
def test_within_the_band_nothing_flaps(values: list[float]) -> None:
    state: State | None = State("firing", 0.0, 0.31, 0.3)
    for now, value in enumerate(values):
        state, made = step(state, seen(value), RULE, float(now))
        assert made == ()
    assert state is not None
    assert (state.phase, state.since_seconds) == ("firing", 0.0)
    state, ended = step(state, seen(0.2), RULE, 1e6)
    assert state is None
    assert [t.state.phase for t in ended] == ["ok"]


STATES = st.one_of(
    st.none(),
    st.builds(
        State,
        st.sampled_from(["pending", "firing"]),
        st.floats(0, 1e9),
        st.floats(0, 1),
        st.floats(0, 1),
    ),
)


@given(STATES, st.floats(0, 2e9), st.sampled_from(["above", "below"]))
def test_without_a_value_nothing_changes(state: State | None, now: float, side: str) -> None:
    assert step(state, seen(None, side=side), RULE, now) == (state, ())
    assert step(state, seen(0.5, side=side, limit=None), RULE, now) == (state, ())


@given(st.lists(st.tuples(st.integers(1, 400), st.none() | st.floats(0, 1)), max_size=40))
def test_silence_in_between_changes_no_transition(steps: list[tuple[int, float | None]]) -> None:
    now, course = 0.0, []
    for seconds, value in steps:
        now += seconds
        course.append((now, seen(value)))
    told = [(at, o) for at, o in course if o.value is not None]
    assert run(course) == run(told)


@given(st.lists(st.tuples(st.integers(-50, 400), st.floats(0, 1)), max_size=40))
def test_the_same_observation_again_changes_nothing(steps: list[tuple[int, float]]) -> None:
    now = 1000.0
    state: State | None = None
    for seconds, value in steps:
        now += seconds
        state, _ = step(state, seen(value), RULE, now)
        assert step(state, seen(value), RULE, now) == (state, ())


@given(st.lists(st.tuples(st.integers(0, 400), st.floats(0, 1)), max_size=60))
def test_it_never_fires_before_it_was_beyond_for_so_long(steps: list[tuple[int, float]]) -> None:
    now, course = 0.0, []
    for seconds, value in steps:
        now += seconds
        course.append((now, seen(value)))
    _, made = run(course)
    fired = [t.at_seconds for t in made if t.state.phase == "firing"]
    for at_seconds in fired:
        position = max(n for n, (at, _) in enumerate(course) if at == at_seconds)
        first = position
        while first > 0 and (course[first - 1][1].value or 0.0) > 0.3:
            first -= 1
        assert at_seconds - course[first][0] >= 300


def test_a_clock_that_was_set_back_delays_by_the_duration_at_most() -> None:
    _, made = run([(86_400.0, seen(0.31)), (0.0, seen(0.31)), (300.0, seen(0.31))])
    assert phases(made) == [("pending", 86_400.0), ("firing", 300.0)]
    firing = State("firing", 86_400.0, 0.31, 0.3)
    assert step(firing, seen(0.31), RULE, 0.0) == (firing, ())


def test_bounds_on_both_sides_neither_fire_nor_resolve() -> None:
    wide = seen(0.1, low=0.1, high=0.5)
    assert step(None, wide, RULE, 0.0) == (None, ())
    pending, firing = (State(phase, 0.0, 0.4, 0.3) for phase in ("pending", "firing"))
    for state in (pending, firing):
        assert step(state, wide, RULE, 1000.0) == (state._replace(value=0.1), ())
    _, ended = step(firing, seen(0.1, low=0.1, high=0.15), RULE, 1000.0)
    assert [t.state.phase for t in ended] == ["ok"]
    _, fired = step(pending, seen(0.4, low=0.35, high=0.9), RULE, 1000.0)
    assert [t.state.phase for t in fired] == ["firing"]


def test_a_key_is_a_rule_and_what_it_is_about() -> None:
    one = Key("idle", labels(site="a", pool="chat"))
    assert one == Key("idle", labels(pool="chat", site="a", tenant=None))
    others = [Key("idle", labels(site="a", pool="batch")), Key("pue", one.labels)]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 3
    # Written in the database: it must never change.
    assert one.fingerprint == "63f6a8e7e687ae3e"


def test_what_is_seen_no_more_is_over() -> None:
    book, now = Book(), RULE._replace(for_seconds=0.0)
    other = seen(0.5, labels=labels(site="site-a", pool="batch"))
    assert len(book.observe(now, [seen(0.5), other], 1.0)) == 2
    [made] = book.observe(now, [other], 2.0)
    assert (made.state.phase, made.before, made.reason) == ("ok", "firing", GONE)
    assert made.key.labels == ABOUT
    assert book.observe(now._replace(name="else"), [], 3.0) == []
    assert [t.state.phase for t in book.keep_only(["else"], 4.0)] == ["ok"]
    assert book.open == {}


def test_the_book_is_bounded_and_counts_what_found_no_room() -> None:
    book, rule = Book(keys_max=2), RULE._replace(for_seconds=0.0)
    many = [seen(0.5, labels=labels(pool=f"p{n}")) for n in range(4)]
    for now in range(3):
        made = book.observe(rule, many, float(now))
        assert len(made) == (2 if now == 0 else 0)
    assert (len(book.open), book.dropped) == (2, 2)
    done = [many[0]._replace(value=0.1), *many[1:]]
    assert [t.state.phase for t in book.observe(rule, done, 4.0)] == ["ok", "firing"]
