"""Ports for local servers, which begin to listen later."""

from deploy.local.paths import free_port


def test_no_port_is_given_twice() -> None:
    ports = [free_port() for _ in range(500)]

    assert len(set(ports)) == len(ports)
