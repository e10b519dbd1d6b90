"""The list of rights in Kafka covers every process, and gives each external role only one right."""

import pytest
from confluent_kafka.admin._acl import AclBinding

from deploy.kafka.grant_acls import UnknownRole, build_acls, format_acl, main, read_roles
from deploy.local.stack_settings import PROCESSES
from schemas.topics import OUTPUT_TOPICS, TOPICS


def lines(bindings: list[AclBinding]) -> set[str]:
    """Return each right as ``RIGHT kind name``, without the user."""
    return {" ".join(format_acl(binding).split()[1:]) for binding in bindings}


def test_every_process_has_a_list() -> None:
    assert set(PROCESSES) <= set(read_roles())


def test_only_the_relay_writes_to_output_topics() -> None:
    writers = {
        role: {line.split()[-1] for line in lines(build_acls(role, "user", "p")) if line.startswith("WRITE topic")}
        for role in read_roles()
        if role not in ("consumer", "administrator")
    }
    assert writers["relay"] == {f"p.{name}" for name in (*OUTPUT_TOPICS, "progress")}
    others = set[str]().union(*(topics for role, topics in writers.items() if role != "relay"))
    assert others == {"p.commands", "p.replay.*"}


@pytest.mark.parametrize("topic", TOPICS)
def test_a_consumer_reads_one_topic_in_groups_of_its_own_name(topic: str) -> None:
    assert lines(build_acls(f"consumer:{topic}", "gradebook", "p")) == {
        f"READ topic p.{topic}",
        "READ group gradebook*",
    }


@pytest.mark.parametrize("role", ["teacher", "consumer", "consumer:grades", "relay:commands"])
def test_an_unknown_role_is_refused_with_the_choices(role: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownRole):
        build_acls(role, "user", "p")

    assert main(["--show", role]) == 2
    assert "choose from handler, relay, gateway, scheduler, console" in capsys.readouterr().err


def test_show_prints_users_and_rights_without_a_broker(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--show", "--prefix", "prod", "gateway=prod-gateway"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{'User:prod-gateway':<24} {'WRITE':<17} topic prod.commands",
        f"{'User:prod-gateway':<24} {'DESCRIBE':<17} topic prod.progress",
    ]
