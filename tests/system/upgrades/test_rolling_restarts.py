"""Every process is restarted under load: each command has one verdict, each scheduled publication happens once."""

import random
from itertools import zip_longest

from tests.system.faults.course_load import CourseLoad
from tests.system.faults.installation import wait_until
from tests.system.faults.schedules import count_publications, schedule_publications
from tests.system.upgrades.conftest import Start

SCHEDULES = 12
FIRST_SECONDS = 15
SCHEDULED_COURSE = 700
EVERY_SECONDS = 3


def test_every_process_is_restarted_under_load_without_a_lost_or_doubled_verdict(start_under_load: Start) -> None:
    loaded = start_under_load(handler=2, relay=2, gateway=1, scheduler=1, console=1)
    course = CourseLoad(SCHEDULED_COURSE, random.Random(1), loaded.installation.verdicts)
    scheduled = schedule_publications(loaded.load, course, SCHEDULES, FIRST_SECONDS, EVERY_SECONDS).keys()
    assert len(scheduled) >= SCHEDULES // 2

    by_kind = [loaded.installation.of(name) for name in ("scheduler", "handler", "relay", "gateway", "console")]
    for one_of_each_kind in zip_longest(*by_kind):
        loaded.restart(*filter(None, one_of_each_kind))
        loaded.load.probe()

    wait_until(lambda: count_publications(loaded.installation, course).keys() >= scheduled, "all are published")
    loaded.assert_faultless()
    assert count_publications(loaded.installation, course) == dict.fromkeys(scheduled, 1)
