"""The parts of the status page that are updated live."""

from dataclasses import replace

from services.console.pipeline_status import PartitionStatus
from services.console.verdict_history import PERIODS, PeriodFigures
from services.console.web.status_page import render_fragments
from services.console.web.templates import Templates
from services.eventlog.process_sessions import LaneHolder, ProcessActivity, ProcessSessions
from tests.unit.console.test_pipeline_status import AT, OK

ACTIVITY = ProcessActivity(
    sessions=(ProcessSessions("handler", "svc", "10.0.0.5", 3, AT), ProcessSessions("scheduler")),
    lanes=(LaneHolder(0, 4711, "<relay>", None, None), LaneHolder(1, 4712, "relay", "10.0.0.7", AT), LaneHolder(2)),
)


def test_each_lane_names_the_session_of_its_relay_or_that_there_is_none(templates: Templates) -> None:
    lanes = render_fragments(templates, replace(OK, activity=ACTIVITY))["lanes"]
    assert "session 4711, login <bdi>&lt;relay&gt;</bdi></td><td>–</td>" in lanes
    assert f'session 4712, 10.0.0.7</td><td><time datetime="{AT.isoformat(timespec="milliseconds")}">' in lanes
    assert "no relay</span></td><td>–</td>" in lanes


def test_each_process_has_its_sessions_or_is_named_as_not_connected(templates: Templates) -> None:
    processes = render_fragments(templates, replace(OK, activity=ACTIVITY))["processes"]
    assert '<th scope="row">handler</th><td class="owner">10.0.0.5</td><td class="number">3</td><td><time' in processes
    assert '<th scope="row">scheduler</th><td class="owner">not connected</td><td class="number">0</td>' in processes


def test_each_partition_has_the_time_of_its_last_decision(templates: Templates) -> None:
    partitions = tuple(PartitionStatus(number, "up to date", 0, 0.0, 7, "one-0") for number in (0, 1))
    rows = render_fragments(templates, replace(OK, partitions=partitions, last_decisions={1: AT}))["partitions"]
    never, once = rows.split("<tr>")[1:]
    assert "<time" not in never
    assert f'<time datetime="{AT.isoformat(timespec="milliseconds")}">' in once


def test_figures_and_chart_are_those_of_the_chosen_period(templates: Templates) -> None:
    history = PeriodFigures(PERIODS["6h"], (7,) * 72, 12, 0.5, 2.0)
    fragments = render_fragments(templates, OK, history)
    assert "<dt>Decided, last 6 hours</dt><dd>504</dd>" in fragments["figures"]
    assert "<dt>Refused, last 6 hours</dt>" in fragments["figures"]
    assert ">12</a>" in fragments["figures"]
    assert "500 ms" in fragments["figures"]
    assert fragments["chart"].count("<rect") == 72
    assert 'aria-label="Commands decided in each 5 min of the last 6 hours: at most 7, now 7"' in fragments["chart"]
    assert "Refused, last 15 min" in render_fragments(templates, OK)["figures"]
