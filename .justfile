# What developers run: `.venv/bin/just` (or just, where it is installed) lists it.
set positional-arguments

export PATH := justfile_directory() / ".venv/bin:" + env("PATH")

[private]
default:
    @just --list --unsorted

# Install packages, servers and tools; run again after a pull
setup:
    deploy/setup tests

# The fast tests, without a server
unit:
    deploy/test unit

# Format, lint, layers, dependencies, types; nothing is changed
lint:
    deploy/test checks

# The checks and the usual tiers, or some: all, unit, integration, system, recovery, journeys, faults, a path
test *arguments:
    deploy/test "$@"

# Format the sources and repair what ruff can
format:
    ruff check --fix .
    ruff format .

# Write the files that are made from code: contracts and dashboards
generate:
    python -m schemas.generate
    python -m deploy.monitoring

# Write the locks from pyproject.toml (--upgrade, or --upgrade-package NAME)
lock *arguments:
    deploy/lock "$@"

# A season of moderated grading through real Kafka and PostgreSQL (--keep leaves them running)
demo *arguments:
    deploy/demo "$@"

# The stack: up, down, env, monitor, token USER_ID, logs [NAME]
stack *arguments:
    deploy/stack "$@"

# Let git run the quick checks before each commit
hooks:
    pre-commit install
