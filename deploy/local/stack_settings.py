"""The processes of the stack and their settings."""

import os
from collections.abc import Mapping

from deploy.local.paths import free_port
from deploy.local.stack_keys import KEYS_FOLDER

PROCESSES = ("handler", "relay", "gateway", "scheduler", "console")
LMS_URL = "http://canvas.example"


def build_process_settings(environments: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Return the settings of each process, on free ports; ``environments``: each with its login and Kafka user."""
    settings = {name: {**environment, "HEALTH_PORT": str(free_port())} for name, environment in environments.items()}
    settings["handler"] |= {
        "HANDLER_INSTANCE": "handler-1",
        "COMMAND_AUTH": os.environ.get("COMMAND_AUTH", "off"),
        "JWKS": str(KEYS_FOLDER / "commands.jwks"),
    }
    port = settings["gateway"]["HEALTH_PORT"]
    settings["gateway"] |= {
        "GATEWAY_PORT": port,
        "GATEWAY_URL": f"http://127.0.0.1:{port}",
        "JWKS": str(KEYS_FOLDER / "users.jwks"),
        "COMMAND_KEY": str(KEYS_FOLDER / "gateway.key"),
        # The console names the address of the moderator who publishes.
        "FORWARDED_ALLOW_IPS": "127.0.0.1",
    }
    settings["scheduler"]["COMMAND_KEY"] = str(KEYS_FOLDER / "scheduler.key")
    port = settings["console"]["HEALTH_PORT"]
    settings["console"] |= {
        "CONSOLE_PORT": port,
        "CONSOLE_URL": f"http://127.0.0.1:{port}",
        "GATEWAY_URL": settings["gateway"]["GATEWAY_URL"],
        "COMMAND_AUTH": settings["handler"]["COMMAND_AUTH"],
        "JWKS": str(KEYS_FOLDER / "users.jwks"),
    }
    return settings
