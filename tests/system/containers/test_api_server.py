"""A real Kubernetes API server takes every rendered resource without a warning, and refuses planted errors.

It needs kube-apiserver (``deploy/containers/build-kube-apiserver``) and etcd (Debian: etcd-server), on PATH or in the
folder KUBEBUILDER_ASSETS. Without them these tests are skipped, which the run says at its end; test_chart.py validates
by schemas in any case.
"""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.helm_chart import VALUE_SETS, Chart, InvalidManifest, find_helm, select_kind
from tests.fixtures.helm_release import Release, completed_jobs
from tests.fixtures.kubernetes_api import ApiServer, api_server, find_program

Json = dict[str, Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    programs = {name: find_program(name) for name in ("kube-apiserver", "etcd")}
    missing = [name for name, path in programs.items() if path is None]
    if missing:
        pytest.skip(
            f"no API server checked the chart, because {' and '.join(missing)} is neither on PATH nor in"
            " KUBEBUILDER_ASSETS: deploy/containers/build-kube-apiserver builds kube-apiserver, Debian's package"
            " etcd-server has etcd"
        )
    program, etcd = programs["kube-apiserver"], programs["etcd"]
    assert program is not None
    assert etcd is not None
    with api_server(tmp_path_factory.mktemp("kubernetes"), program, etcd) as server:
        yield server


@pytest.fixture(scope="module")
def chart(server: ApiServer) -> Chart:
    helm = find_helm()
    if helm is None:
        pytest.skip("helm is neither on PATH nor built: deploy/setup containers builds it where Go is")
    return Chart(helm)


@pytest.fixture(scope="module")
def rendered(chart: Chart) -> dict[str, list[Json]]:
    return {name: chart.render(values) for name, values in VALUE_SETS.items()}


@pytest.mark.parametrize("values", VALUE_SETS)
def test_api_server_takes_every_resource(server: ApiServer, rendered: dict[str, list[Json]], values: str) -> None:
    for resource in rendered[values]:
        server.dry_run(resource)


def _misspell_probe(resources: list[Json]) -> Json:
    (handler,) = select_kind(resources, "StatefulSet")
    container = handler["spec"]["template"]["spec"]["containers"][0]
    container["livenesProbe"] = container.pop("livenessProbe")
    return handler


def _select_other_pods(resources: list[Json]) -> Json:
    (handler,) = select_kind(resources, "StatefulSet")
    handler["spec"]["selector"]["matchLabels"] = {"app": "another"}
    return handler


def _limit_below_the_request(resources: list[Json]) -> Json:
    (handler,) = select_kind(resources, "StatefulSet")
    resources_of = handler["spec"]["template"]["spec"]["containers"][0]["resources"]
    resources_of["limits"]["memory"] = "1Mi"
    return handler


def _mount_an_unknown_volume(resources: list[Json]) -> Json:
    deployment = select_kind(resources, "Deployment")[0]
    deployment["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0]["name"] = "another"
    return deployment


def _allow_more_privileges(resources: list[Json]) -> Json:
    deployment = select_kind(resources, "Deployment")[0]
    deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    return deployment


def _repeat_a_variable(resources: list[Json]) -> Json:
    (handler,) = select_kind(resources, "StatefulSet")
    variables = handler["spec"]["template"]["spec"]["containers"][0]["env"]
    variables.append({"name": variables[0]["name"], "value": "another"})
    return handler


def _keep_and_allow_pods_at_once(resources: list[Json]) -> Json:
    budget = select_kind(resources, "PodDisruptionBudget")[0]
    budget["spec"]["minAvailable"] = 1
    return budget


def _use_a_group_that_is_gone(resources: list[Json]) -> Json:
    budget = select_kind(resources, "PodDisruptionBudget")[0]
    budget["apiVersion"] = "policy/v1beta1"
    return budget


def _scale_without_triggers(resources: list[Json]) -> Json:
    (scaled,) = select_kind(resources, "ScaledObject")
    del scaled["spec"]["triggers"]
    return scaled


def _scrape_with_an_unknown_field(resources: list[Json]) -> Json:
    (monitor,) = select_kind(resources, "ServiceMonitor")
    monitor["spec"]["endpoint"] = monitor["spec"].pop("endpoints")
    return monitor


@pytest.mark.parametrize(
    "plant",
    [
        _misspell_probe, _select_other_pods, _limit_below_the_request, _mount_an_unknown_volume,
        _keep_and_allow_pods_at_once, _use_a_group_that_is_gone, _scale_without_triggers, _scrape_with_an_unknown_field,
        _allow_more_privileges, _repeat_a_variable,
    ],
)  # fmt: skip
def test_api_server_refuses_planted_errors(
    server: ApiServer, rendered: dict[str, list[Json]], plant: Callable[[list[Json]], Json]
) -> None:
    changed = plant(copy.deepcopy(rendered["production"]))
    with pytest.raises(InvalidManifest):
        server.dry_run(changed)


JOBS = ["grading-migrate", "grading-topics"]


def _secret_of_strimzi(namespace: str) -> Json:
    """The Secret of the jobs' user, as Strimzi creates it."""
    metadata = {"name": "grading-administrator", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": "invented"}}


@pytest.mark.parametrize("values", ["minimal", "production", "strimzi"])
def test_release_is_installed_upgraded_rolled_back_and_removed_but_for_its_topics(
    server: ApiServer, chart: Chart, rendered: dict[str, list[Json]], tmp_path: Path, values: str
) -> None:
    first_jobs = [f"{name}-1" for name in JOBS] if values == "strimzi" else JOBS
    kinds = {(resource["apiVersion"], resource["kind"]) for resource in rendered[values]}
    topics = {resource["metadata"]["name"] for resource in select_kind(rendered[values], "KafkaTopic")}
    release = Release(server, chart, f"release-{values}", tmp_path)
    with completed_jobs(server, release.namespace) as jobs:
        release.install(VALUE_SETS[values])
        assert {kind for kind in kinds if not release.names(*kind)} <= {("batch/v1", "Job")}
        if values == "strimzi":
            server.create(_secret_of_strimzi(release.namespace))
        for replicas in (3, 4):
            release.install(VALUE_SETS[values], f"gateway.replicas={replicas}")
        release.roll_back(1)
        release.uninstall()

    assert sorted(jobs[:2]) == sorted(first_jobs)
    # Migrations before topics, and both before the upgrade's processes. A rollback has no jobs of its own.
    assert jobs[2:6] == JOBS * 2
    assert set(jobs[6:]) <= set(first_jobs) - set(JOBS)
    left = {name for kind in kinds for name in release.names(*kind)}
    assert left == topics


def test_release_that_turns_strimzis_users_on_does_not_wait_for_their_secrets(
    server: ApiServer, chart: Chart, tmp_path: Path
) -> None:
    release = Release(server, chart, "release-later-users", tmp_path)
    with completed_jobs(server, release.namespace) as jobs:
        release.install(VALUE_SETS["minimal"])
        release.install(VALUE_SETS["strimzi"])
        release.uninstall()

    assert sorted(jobs) == sorted([*JOBS, *(f"{name}-2" for name in JOBS)])
