"""The Helm chart renders what Kubernetes takes, and runs the processes of compose with settings that they take."""

import copy
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.kafka.grant_acls import read_roles
from deploy.local.paths import ROOT
from schemas.topics import TOPICS
from services import __version__
from services.config.base import Settings
from services.config.cli import TopicSettings
from services.config.console import ConsoleSettings
from services.config.database import DatabaseSettings
from services.config.gateway import GatewaySettings
from services.config.handler import HandlerSettings
from services.config.relay import RelaySettings
from services.config.scheduler import SchedulerSettings
from services.kafka.topic_settings import Replication, build_topic_config
from tests.fixtures.helm_chart import (
    CHART,
    KUBERNETES_VERSIONS,
    VALUE_SETS,
    Chart,
    ChartRefused,
    InvalidManifest,
    find_helm,
    pod_templates,
    select_kind,
    validate_resource,
)
from tests.fixtures.settings import setting_names

Json = dict[str, Any]
FILES = "/etc/moderation/"
COMPONENT = "app.kubernetes.io/component"
SELECTOR = re.compile(r"(?<![\w:])(?:up|moderation[_:][\w:]+)(?![\w:])(?:\{[^}]*\})?")
"""The name of a series, with its matchers if it has any."""
SETTINGS_OF: dict[str, type[Settings]] = {
    "handler": HandlerSettings,
    "relay": RelaySettings,
    "gateway": GatewaySettings,
    "console": ConsoleSettings,
    "scheduler": SchedulerSettings,
    "migrate": DatabaseSettings,
    "topics": TopicSettings,
    "administrator": TopicSettings,
}
WITHOUT_HTTP = {"migrate", "topics", "administrator"}
"""What runs commands: no process, which would be probed, scraped and kept through drains."""


@pytest.fixture(scope="module")
def chart() -> Chart:
    helm = find_helm()
    if helm is None:
        problem = "helm is neither on PATH nor built: deploy/setup containers builds it where Go is"
        assert "CI" not in os.environ, problem
        pytest.skip(problem)
    return Chart(helm)


@pytest.fixture(scope="module")
def rendered(chart: Chart) -> dict[str, list[Json]]:
    """Return the resources by set of values."""
    return {name: chart.render(values) for name, values in VALUE_SETS.items()}


def environment_of(pod: Json) -> dict[str, str]:
    """Return what a process sees, with stand-ins for what Kubernetes fills in."""
    stand_ins = {"secretKeyRef": "postgresql://user@database/moderation", "fieldRef": "grading-handler-0"}
    (container,) = pod["containers"]
    return {
        variable["name"]: variable["value"] if "value" in variable else stand_ins[next(iter(variable["valueFrom"]))]
        for variable in container["env"]
    }


def test_there_are_three_value_sets() -> None:
    assert set(VALUE_SETS) == {"minimal", "production", "strimzi"}


@pytest.mark.parametrize("values", VALUE_SETS)
def test_helm_finds_nothing_wrong_with_a_value_set(chart: Chart, values: str) -> None:
    chart.lint(VALUE_SETS[values])


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("values", VALUE_SETS)
def test_kubernetes_takes_every_resource_and_every_field(
    rendered: dict[str, list[Json]], values: str, version: str
) -> None:
    for resource in rendered[values]:
        validate_resource(resource, version)


def _misspell_probe(resources: list[Json]) -> None:
    (handler,) = select_kind(resources, "StatefulSet")
    container = handler["spec"]["template"]["spec"]["containers"][0]
    container["livenesProbe"] = container.pop("livenessProbe")


def _say_replicas_as_text(resources: list[Json]) -> None:
    select_kind(resources, "Deployment")[0]["spec"]["replicas"] = "2"


def _forget_the_selector(resources: list[Json]) -> None:
    del select_kind(resources, "StatefulSet")[0]["spec"]["selector"]


def _scale_without_a_threshold(resources: list[Json]) -> None:
    del select_kind(resources, "ScaledObject")[0]["spec"]["triggers"][0]["metadata"]["threshold"]


def _scrape_a_number(resources: list[Json]) -> None:
    select_kind(resources, "ServiceMonitor")[0]["spec"]["endpoints"][0]["port"] = 8081


def _use_a_group_that_is_gone(resources: list[Json]) -> None:
    select_kind(resources, "PodDisruptionBudget")[0]["apiVersion"] = "policy/v1beta1"


@pytest.mark.parametrize(
    "plant",
    [
        _misspell_probe, _say_replicas_as_text, _forget_the_selector, _scale_without_a_threshold, _scrape_a_number,
        _use_a_group_that_is_gone,
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_planted_error_is_found(
    rendered: dict[str, list[Json]], plant: Callable[[list[Json]], None], version: str
) -> None:
    resources = copy.deepcopy(rendered["production"])
    plant(resources)
    changed = [one for one, before in zip(resources, rendered["production"], strict=True) if one != before]
    assert len(changed) == 1
    with pytest.raises(InvalidManifest):
        validate_resource(changed[0], version)


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("handler.replicas=13", "as there are shards: 12"),
        ("handler.replica=2", "/handler"),
        ("auth.commandAuth=false", "/auth/commandAuth"),
        ("kafka.bootstrap=kafka", "/kafka/bootstrap"),
        ("kafka.securityProtocol=SASL_SSL", "kafka.existingSecret is required"),
        ("database.existingSecret=", "/database/existingSecret"),
        ("settings.DATABASE_URL=x", "invalid propertyName 'DATABASE_URL'"),
        ("handler.settings.COMMAND_AUTH=required", "invalid propertyName 'COMMAND_AUTH'"),
        ("auth.commandAuth=required", "auth.commands needs a url or a secret"),
        ("auth.commandAuth=required,auth.commands.secret=keys", "auth.commandKey.secret is required"),
        (
            "auth.commandAuth=bound,auth.commands.secret=keys,auth.commandKey.secret=keys",
            "auth.schedulerKey.secret is required",
        ),
        ("strimzi.cluster=a,strimzi.users.enabled=true", "set kafka.securityProtocol to SASL_SSL"),
        (
            "strimzi.cluster=a,strimzi.topics.enabled=true,settings.TOPIC_RETENTION_DAYS=30",
            "strimzi.topics.retentionDays",
        ),
        ("autoscaling.enabled=true,autoscaling.minReplicas=7", "more than autoscaling.maxReplicas: 6"),
        ("auth.users.url=", "/auth/users"),
        ("strimzi.topics.enabled=true", "strimzi.cluster is required"),
        ("autoscaling.enabled=true,autoscaling.maxReplicas=13", "as there are shards: 12"),
    ],
)
def test_value_that_cannot_work_is_refused_with_its_place(chart: Chart, setting: str, problem: str) -> None:
    with pytest.raises(ChartRefused) as refused:
        chart.render(VALUE_SETS["minimal"], *setting.split(","))
    assert problem in str(refused.value)


def test_chart_runs_the_commands_of_compose(rendered: dict[str, list[Json]]) -> None:
    services: dict[str, Json] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    of_image = {
        name: service["command"]
        for name, service in services.items()
        if service["image"].startswith("${MODERATION_IMAGE") and service.get("profiles") == ["single"]
    }
    in_chart = {name: pod["containers"][0]["args"] for name, pod in pod_templates(rendered["minimal"])}
    assert in_chart.pop("administrator") == ["sleep", "infinity"]
    # The chart states the number of shards, which compose leaves at its default.
    in_chart["migrate"] = in_chart["migrate"][:3]
    assert in_chart == of_image


@pytest.mark.parametrize("values", VALUE_SETS)
def test_settings_are_known_and_every_process_takes_them(
    rendered: dict[str, list[Json]], values: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ.keys() & setting_names():
        monkeypatch.delenv(name)
    for name, pod in pod_templates(rendered[values]):
        environment = environment_of(pod)
        own = {"HEALTH_HOST": "0.0.0.0", "HEALTH_PORT": "8081"} if name not in WITHOUT_HTTP else {}
        assert own.items() <= environment.items()
        assert environment.keys() <= setting_names(), name
        with monkeypatch.context() as process:
            for variable, value in environment.items():
                process.setenv(variable, value)
            SETTINGS_OF[name]()


@pytest.mark.parametrize("values", VALUE_SETS)
def test_files_that_settings_name_are_mounted(rendered: dict[str, list[Json]], values: str) -> None:
    for name, pod in pod_templates(rendered[values]):
        (volume,) = [volume for volume in pod["volumes"] if "projected" in volume]
        mounted = {item["path"] for source in volume["projected"]["sources"] for item in source["secret"]["items"]}
        named = {value.removeprefix(FILES) for value in environment_of(pod).values() if value.startswith(FILES)}
        # The URL in the database's Secret names this one.
        assert mounted - {"database-ca.crt"} == named, name


@pytest.mark.parametrize("values", VALUE_SETS)
def test_variable_is_set_once_and_what_values_set_cannot_be_a_setting(
    rendered: dict[str, list[Json]], values: str
) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    refused = set(schema["definitions"]["settings"]["propertyNames"]["not"]["enum"])
    given = yaml.safe_load(VALUE_SETS[values].read_text())
    for name, pod in pod_templates(rendered[values]):
        names = [variable["name"] for variable in pod["containers"][0]["env"]]
        settings = {**given.get("settings", {}), **given.get(name, {}).get("settings", {})}
        assert len(names) == len(set(names)), name
        # With Strimzi's topics the chart sets these; they are refused as settings then.
        assert set(names) - settings.keys() - {"TOPIC_REPLICATION_FACTOR", "TOPIC_RETENTION_DAYS"} <= refused
    assert refused <= setting_names()


def test_jobs_run_before_processes_except_where_their_user_is_created_with_them(chart: Chart) -> None:
    def hooks(values: str, *, is_upgrade: bool) -> set[str]:
        resources = chart.render(VALUE_SETS[values], is_upgrade=is_upgrade)
        annotations = [job["metadata"].get("annotations", {}) for job in select_kind(resources, "Job")]
        return {annotation.get("helm.sh/hook", "") for annotation in annotations}

    before = {"pre-install,pre-upgrade"}
    assert hooks("production", is_upgrade=False) == hooks("production", is_upgrade=True) == before
    # Without a server there is no Secret of Strimzi's; the API server's tests have one.
    assert hooks("strimzi", is_upgrade=False) == hooks("strimzi", is_upgrade=True) == {""}


def test_without_peers_a_port_is_open_to_no_address(chart: Chart) -> None:
    values = VALUE_SETS["production"]
    closed = ("networkPolicy.gatewayFrom=[]", "networkPolicy.consoleFrom=[]", "networkPolicy.monitoringFrom=[]")
    policies = select_kind(chart.render(values, *closed), "NetworkPolicy")
    rules = [rule for policy in policies for rule in policy["spec"]["ingress"] or []]
    # What remains: the console sends commands to the gateway. A rule without peers would be open to everyone.
    ((peer,),) = [rule["from"] for rule in rules]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "console"


def test_topics_outlive_the_release(rendered: dict[str, list[Json]]) -> None:
    topics = select_kind(rendered["strimzi"], "KafkaTopic")
    assert topics
    assert [topic["metadata"]["annotations"] for topic in topics] == [{"helm.sh/resource-policy": "keep"}] * len(topics)


def test_secrets_are_named_and_never_values(rendered: dict[str, list[Json]]) -> None:
    for resources in rendered.values():
        assert not select_kind(resources, "Secret", "ConfigMap")
        for _, pod in pod_templates(resources):
            (database_url,) = [row for row in pod["containers"][0]["env"] if row["name"] == "DATABASE_URL"]
            assert set(database_url) == {"name", "valueFrom"}


@pytest.mark.parametrize("values", VALUE_SETS)
def test_pod_has_no_rights_and_says_what_it_needs(rendered: dict[str, list[Json]], values: str) -> None:
    for name, pod in pod_templates(rendered[values]):
        (container,) = pod["containers"]
        assert pod["automountServiceAccountToken"] is False, name
        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10001)
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert {"requests", "limits"} <= container["resources"].keys()


@pytest.mark.parametrize("values", VALUE_SETS)
def test_process_is_probed_spread_and_kept_through_drains(rendered: dict[str, list[Json]], values: str) -> None:
    budgets = select_kind(rendered[values], "PodDisruptionBudget")
    policies = select_kind(rendered[values], "NetworkPolicy")
    for workload in select_kind(rendered[values], "Deployment", "StatefulSet"):
        labels = workload["spec"]["selector"]["matchLabels"]
        if labels[COMPONENT] in WITHOUT_HTTP:
            continue
        pod = workload["spec"]["template"]["spec"]
        paths = {probe: pod["containers"][0][probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")}
        assert paths == {"livenessProbe": "/health/live", "readinessProbe": "/health/ready"}
        assert [row["labelSelector"]["matchLabels"] for row in pod["topologySpreadConstraints"]] == [labels, labels]
        assert [b["spec"]["maxUnavailable"] for b in budgets if b["spec"]["selector"]["matchLabels"] == labels] == [1]
        (policy,) = [one for one in policies if one["spec"]["podSelector"]["matchLabels"] == labels]
        open_ports = [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]
        # Two rules may open one port: to users, and to the console.
        assert list(dict.fromkeys(open_ports)) == [port["name"] for port in pod["containers"][0]["ports"]]


@pytest.mark.parametrize("values", VALUE_SETS)
def test_administrator_has_the_environment_and_the_secrets_of_the_jobs(
    rendered: dict[str, list[Json]], values: str
) -> None:
    pods = dict(pod_templates(rendered[values]))
    (container,) = pods["administrator"]["containers"]
    for job in ("migrate", "topics"):
        (of_job,) = pods[job]["containers"]
        assert (container["env"], container["image"]) == (of_job["env"], of_job["image"])
        assert [mount for mount in container["volumeMounts"] if mount not in of_job["volumeMounts"]] == [
            {"name": "folder", "mountPath": container["workingDir"]}
        ]
        assert pods["administrator"]["volumes"] == [*pods[job]["volumes"], {"name": "folder", "emptyDir": {}}]


@pytest.mark.parametrize("values", VALUE_SETS)
def test_administrator_has_no_pod_until_it_is_scaled_and_is_no_process(
    rendered: dict[str, list[Json]], values: str
) -> None:
    (workload,) = [one for one in select_kind(rendered[values], "Deployment") if one["spec"]["replicas"] == 0]
    labels = workload["spec"]["template"]["metadata"]["labels"]

    assert (workload["metadata"]["name"], labels[COMPONENT]) == ("grading-admin", "administrator")
    assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
    selectors = [service["spec"]["selector"] for service in select_kind(rendered[values], "Service")]
    selectors += [
        one["spec"]["selector"]["matchLabels"] for one in select_kind(rendered[values], "PodDisruptionBudget")
    ]
    assert not [selector for selector in selectors if selector.items() <= labels.items()]
    policies = {one["spec"]["podSelector"]["matchLabels"][COMPONENT]: one["spec"]
                for one in select_kind(rendered[values], "NetworkPolicy")}  # fmt: skip
    assert policies["administrator"]["podSelector"]["matchLabels"].items() <= labels.items()
    # It may reach what the jobs may, and nobody connects to it.
    assert not policies["administrator"]["ingress"]
    assert policies["administrator"]["egress"] == policies["topics"]["egress"]
    assert policies["administrator"]["policyTypes"] == ["Ingress", "Egress"]


def test_administrators_files_are_kept_in_a_claim_if_one_is_named(chart: Chart) -> None:
    pods = dict(pod_templates(chart.render(VALUE_SETS["minimal"], "administrator.existingClaim=archive")))
    claimed = [volume for volume in pods["administrator"]["volumes"] if "persistentVolumeClaim" in volume]
    assert claimed == [{"name": "folder", "persistentVolumeClaim": {"claimName": "archive"}}]


def test_scraped_jobs_are_those_of_the_alert_rules(rendered: dict[str, list[Json]]) -> None:
    (monitor,) = select_kind(rendered["production"], "ServiceMonitor")
    label = monitor["spec"]["jobLabel"]
    labels = [service["metadata"]["labels"] for service in select_kind(rendered["production"], "Service")]
    jobs = {row[label] for row in labels if label in row}
    names = {name for name, _ in pod_templates(rendered["production"])} - WITHOUT_HTTP
    assert jobs == {f"moderation-{name}" for name in names}


def rules_of(resources: list[Json]) -> list[Json]:
    return [group for rule in select_kind(resources, "PrometheusRule") for group in rule["spec"]["groups"]]


def test_rules_are_those_of_plain_prometheus_but_judge_their_own_installation(
    rendered: dict[str, list[Json]],
) -> None:
    files = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "deploy/monitoring/rules").glob("*.yml"))]
    groups = copy.deepcopy(rules_of(rendered["production"]))
    for group in groups:
        for rule in group["rules"]:
            assert rule["labels"].pop("installation") == "grading/grading"
            rule["expr"] = rule["expr"].replace('{installation="grading/grading"}', "")
            rule["expr"] = rule["expr"].replace('installation="grading/grading",', "")
    assert groups == [group for file in files for group in file["groups"]]


def test_every_selector_of_the_rules_names_the_installation_whose_targets_have_the_label(
    rendered: dict[str, list[Json]],
) -> None:
    (monitor,) = select_kind(rendered["production"], "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["relabelings"] == [{"targetLabel": "installation", "replacement": "grading/grading"}]
    selectors = [
        selector
        for group in rules_of(rendered["production"])
        for rule in group["rules"]
        for selector in SELECTOR.findall(rule["expr"])
    ]
    assert len(selectors) > 80
    assert [one for one in selectors if not re.match(r'[\w:]+\{installation="grading/grading"[,}]', one)] == []


def test_handlers_are_scaled_by_seconds_of_lag_only_where_asked(rendered: dict[str, list[Json]]) -> None:
    assert not select_kind(rendered["minimal"], "ScaledObject")
    (scaled,) = select_kind(rendered["production"], "ScaledObject")
    (handler,) = select_kind(rendered["production"], "StatefulSet")
    assert scaled["spec"]["scaleTargetRef"]["name"] == handler["metadata"]["name"]
    assert "replicas" not in handler["spec"]
    (trigger,) = scaled["spec"]["triggers"]
    assert "moderation_consumer_lag_seconds" in trigger["metadata"]["query"]
    assert handler["spec"]["serviceName"] in trigger["metadata"]["query"]


def test_strimzi_topics_are_those_of_the_service(rendered: dict[str, list[Json]]) -> None:
    made = {
        topic["spec"]["topicName"]: (
            topic["spec"]["partitions"],
            topic["spec"]["replicas"],
            {name: str(value).lower() if isinstance(value, bool) else str(value)
             for name, value in topic["spec"]["config"].items()},
        )
        for topic in select_kind(rendered["strimzi"], "KafkaTopic")
    }  # fmt: skip
    assert made == {
        f"moderation.{name}": (topic.partition_count(), 3, build_topic_config(topic.config, Replication(3, 2)))
        for name, topic in TOPICS.items()
    }


def test_strimzi_users_have_the_listed_rights(rendered: dict[str, list[Json]]) -> None:
    def listed(role: str, user: str, topic: str = "") -> list[Json]:
        rights = []
        for rule in read_roles()[role]:
            (kind,) = rule.keys() - {"allow", "prefixed"}
            name = rule[kind].format(prefix="moderation", topic=topic, user=user)
            pattern = "prefix" if rule.get("prefixed") else "literal"
            resource = {"type": {"transactional_id": "transactionalId"}.get(kind, kind)}
            if kind != "cluster":
                resource |= {"name": name, "patternType": pattern}
            operations = [operation.title().replace("_", "") for operation in rule["allow"]]
            rights.append({"resource": resource, "operations": operations})
        return rights

    users = {
        user["metadata"]["name"]: user["spec"]["authorization"]["acls"]
        for user in select_kind(rendered["strimzi"], "KafkaUser")
    }
    roles = ("handler", "relay", "gateway", "console", "scheduler", "operator", "administrator")
    assert users == {
        **{f"grading-{role}": listed(role, f"grading-{role}") for role in roles},
        "lms": listed("producer", "lms"),
        "gradebook": listed("consumer", "gradebook", "live-events"),
    }
    names = {environment_of(pod)["KAFKA_SASL_USERNAME"] for _, pod in pod_templates(rendered["strimzi"])}
    assert names <= users.keys()


def test_packaged_chart_renders_the_same(chart: Chart, rendered: dict[str, list[Json]], tmp_path: Path) -> None:
    package = chart.package(tmp_path)
    assert {name: package.render(values) for name, values in VALUE_SETS.items()} == rendered


def test_chart_and_service_have_one_version() -> None:
    metadata = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert metadata["appVersion"] == __version__
