"""How the agents fare: who speaks, who fell silent, whose reports wait."""

from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from typing import Final

from meterhouse_collector.agents import Agent
from meterhouse_collector.live import Pace
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.web.document import Agents, AgentState, AgentView

LIST_MAX: Final = 200
SILENT_AFTER_INTERVALS: Final = 3
_MARGIN_SECONDS: Final = 2.0
_ORDER: Final[tuple[AgentState, ...]] = ("offline", "silent", "unseen", "online")


def agents_of(
    agents: Mapping[str, Agent], index: SiteIndex, pace: Pace, now_seconds: float
) -> Agents:
    """Return all agents, and the registered nodes whose agent was never heard."""
    views = [*_heard(agents, pace, now_seconds), *_unseen(agents, index, now_seconds)]
    views.sort(key=lambda view: (_ORDER.index(view.state), not view.troubles, view.name))
    tally = Tally(view.state for view in views)
    return Agents(
        counts={state: tally[state] for state in _ORDER},
        waiting_reports=sum(view.waiting_reports for view in views),
        list=views[:LIST_MAX],
        left_out=max(0, len(views) - LIST_MAX),
    )


def silent_after_seconds(pace: Pace) -> float:
    """Return for how long an agent may say nothing."""
    return pace.length_seconds * SILENT_AFTER_INTERVALS + pace.grace_seconds + _MARGIN_SECONDS


def _heard(agents: Mapping[str, Agent], pace: Pace, now: float) -> Iterator[AgentView]:
    patience = silent_after_seconds(pace)
    for name, agent in agents.items():
        seen = max(agent.report_seconds, agent.status_seconds)
        state: AgentState = "online" if now - seen <= patience else "silent"
        if agent.state == "offline" and agent.report_seconds <= agent.status_seconds:
            state = "offline"
        yield AgentView(
            name=name,
            state=state,
            last_seen_seconds=seen,
            waiting_reports=agent.waiting,
            troubles=[
                *(f"{source.source} {source.state}: {source.detail}" for source in agent.troubles),
                *(f"{n} reports set aside: {why}" for why, n in sorted(agent.set_aside.items())),
            ],
        )


def _unseen(agents: Mapping[str, Agent], index: SiteIndex, now: float) -> Iterator[AgentView]:
    for node in index.nodes:
        if node not in agents and index.plan(node, now) is not None:
            yield AgentView(name=node, state="unseen", last_seen_seconds=None, waiting_reports=0)
