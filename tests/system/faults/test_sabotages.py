"""The checker finds each of eight sabotages of the service by a run, and no violation in the unmodified service."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.paths import database_folder
from deploy.local.postgres import PostgresServer, create_database
from tests.fixtures.system import RUN_PREFIX
from tests.system.faults.installation import Installation, opened
from tests.system.faults.sabotages import scenes
from tests.system.faults.sabotages.scenes import Scene

pytestmark = pytest.mark.timeout(400)
SCENES: dict[str, tuple[Callable[[Scene], None], set[str]]] = {
    "deduplication": (scenes.send_twice, {"I2"}),
    "watermark": (scenes.restart_after_a_batch, {"I2"}),
    "fencing": (scenes.take_over_from_a_late_relay, {"I2", "I4"}),
    "lock": (scenes.publish_for_a_while, {"I16"}),
    "offset": (scenes.restart_in_a_batch, {"I1"}),
    "due time": (scenes.publish_at_a_set_time, {"I17"}),
    "publication id": (scenes.publish_at_a_set_time, {"I17"}),
}
KEEP_WAL_IN_MEMORY = "wal_writer_delay = 10s\nwal_writer_flush_after = 1GB\n"


@pytest.fixture
def installation(bootstrap: str, database_url: str, tmp_path: Path) -> Iterator[Installation]:
    with opened(Installation("sabotaged", bootstrap, database_url, tmp_path)) as new:
        yield new


@pytest.mark.parametrize("sabotage", SCENES)
def test_checker_finds_the_sabotage(sabotage: str, installation: Installation) -> None:
    play, invariants = SCENES[sabotage]
    scene = Scene(installation, sabotage)
    play(scene)
    assert invariants <= {violation.invariant for violation in scene.find()}


def test_unmodified_service_passes_every_scene(installation: Installation) -> None:
    scene = Scene(installation, None)
    for play, _ in SCENES.values():
        play(scene)
    scene.load.probe()
    scene.settle()
    assert scene.find() == []


@pytest.fixture
def crashing_postgres() -> Iterator[PostgresServer]:
    """Start a separate server, which writes its WAL to disk only when a commit waits for it."""
    server = PostgresServer(database_folder(f"{RUN_PREFIX}-crashing"))
    server.start()
    with (server.folder / "data" / "postgresql.conf").open("a") as file:
        file.write(KEEP_WAL_IN_MEMORY)
    server.stop()
    server.start()
    yield server
    server.kill()
    server.remove()


@pytest.mark.parametrize(("sabotage", "invariants"), [("durability", {"I7"}), (None, set())])
def test_checker_finds_commits_that_were_not_on_disk(
    sabotage: str | None, invariants: set[str], bootstrap: str, crashing_postgres: PostgresServer, tmp_path: Path
) -> None:
    url = create_database(crashing_postgres.address, "crashing")
    with opened(Installation("crashing", bootstrap, url, tmp_path)) as installation:
        scene = Scene(installation, sabotage)
        scenes.crash_the_database(scene, crashing_postgres)
        found = scene.find()
        assert invariants <= {violation.invariant for violation in found} if invariants else not found
