"""Run the whole stack in the background: ``deploy/stack up|down|status|restart|env|monitor|token|logs``.

Every process has its own PostgreSQL login. With ``--secure`` it also has a Kafka user, both servers accept only
encrypted connections, and Kafka allows only what ``deploy/kafka/acls.yaml`` lists. The secured servers and their data
are separate from the open ones.
"""

import os
import shlex
import shutil
import sys

from deploy.local.paths import free_port
from deploy.local.stack_keys import create_token
from deploy.local.stack_lifecycle import Stack
from deploy.local.stack_logs import read_last_lines
from deploy.local.stack_settings import PROCESSES
from deploy.local.supervisor import LOG_FOLDER, STACK_FOLDER
from deploy.monitoring.prometheus_targets import write_prometheus_config

USAGE = (
    "usage: deploy/stack COMMAND\n"
    "  up [--secure]         start Kafka, PostgreSQL and all processes; with --secure with TLS, passwords and rights\n"
    "  down                  stop what up started\n"
    "  status                show which processes run and are ready; exit code 1 if one is not\n"
    "  restart [NAME…]       end processes and wait until they are ready again; all of them without a name\n"
    "  env [NAME]            print the environment variables of a client\n"
    "  token USER_ID [--scope S] [--root-account ID]\n"
    "                        print a token for the gateway or the console\n"
    "  logs [NAME]           print the last lines of the logs\n"
    "  monitor               run Prometheus with the alert rules until Ctrl-C"
)


def run_prometheus(environment: dict[str, str]) -> None:
    """Replace this process by a Prometheus that scrapes the stack. SystemExit if Prometheus is not installed."""
    program = shutil.which("prometheus")
    if program is None:
        sys.exit("deploy/stack: Prometheus is not installed; run deploy/setup tests, or install it")
    folder, port = STACK_FOLDER / "prometheus", free_port()
    folder.mkdir(exist_ok=True)
    urls = {name: environment[f"{name.upper()}_URL"] for name in PROCESSES}
    settings = write_prometheus_config(folder, {name: url.removeprefix("http://") for name, url in urls.items()})
    print(f"Prometheus: http://127.0.0.1:{port}/alerts (Ctrl-C stops it); data in {folder}", flush=True)
    arguments = [f"--config.file={settings}", f"--storage.tsdb.path={folder / 'data'}", "--log.level=warn"]
    os.execv(program, [program, *arguments, f"--web.listen-address=127.0.0.1:{port}"])


def main(arguments: list[str]) -> None:
    """Run the command line."""
    match arguments:
        case ["up"] | ["up", "--secure"]:
            stack = Stack()
            stack.up(secure="--secure" in arguments)
            print(f"ready: gateway {stack.url('gateway')}, console {stack.url('console')}")
            print("README.md shows how to send a command; deploy/stack --help lists what else there is")
        case ["down"]:
            Stack().down()
        case ["status"]:
            sys.exit(0 if Stack().print_status() else 1)
        case ["restart", *names]:
            Stack().restart(tuple(names))
        case ["is-up"]:
            sys.exit(0 if Stack().is_up() else 1)
        case ["env", *clients] if len(clients) <= 1:
            for name, value in Stack().environment(*clients).items():
                print(f"{name}={shlex.quote(value)}")
        case ["monitor"]:
            run_prometheus(Stack().environment())
        case ["token", *token_arguments]:
            print(create_token(token_arguments))
        case ["logs", *names] if len(names) <= 1:
            files = sorted(LOG_FOLDER.glob(f"{names[0] if names else '*'}.log"))
            if not files:
                sys.exit(f"deploy/stack: no such log; choose from {', '.join(PROCESSES)}")
            for file in files:
                print(f"== {file.name}", *read_last_lines(file, 50), sep="\n")
        case ["--help" | "-h" | "help"]:
            print(USAGE)
        case _:
            print(USAGE, file=sys.stderr)
            sys.exit(2)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RuntimeError as error:
        sys.exit(f"deploy/stack: {error}")
