"""What clients and operators see: I13 read your verdict, I14 separate tenants, I15 secrecy, I16 bounded resources."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from tests.system.faults.checker.observations import Json, Run, Violation

TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*")
ROOT_ACCOUNT = re.compile(r"/root_accounts/([0-9]+)/")
MINUTE_SECONDS = 60
SAMPLED_SHARE = 0.5
"""Of the samples that are due: a busy machine takes fewer."""
SHORT_SECONDS = 10
"""A process that ran for less time in the whole run may end before its first sample."""
NO_ANSWER, NOT_FOUND, UNAVAILABLE = 0, 404, 503


def check_read_your_verdict(run: Run) -> Iterator[Violation]:
    """I13: a state that is read after a verdict was seen has at least the verdict's version.

    During a fault there may be no state, but of an assignment that is in the log none may say that it does not exist.
    """
    seen: dict[str, list[tuple[float, int, str]]] = defaultdict(list)
    for line in run.lines("verdict_seen"):
        if line.get("assignment") is not None and line.get("stream_version") is not None:
            seen[line["assignment"]].append((line["at"], line["stream_version"], line["command_id"]))
    for line in run.lines("state_not_served"):
        if line["status"] not in (NO_ANSWER, NOT_FOUND, UNAVAILABLE):
            yield Violation("I13", f"answered {line['status']}: {line['body']}", f"assignment {line['assignment']}")
    refused = (line | {"version": 0} for line in run.lines("state_not_served") if line["status"] == NOT_FOUND)
    for line in (*run.lines("state"), *refused):
        known = [verdict for verdict in seen[line["assignment"]] if verdict[0] < line["started_at"]]
        newest = max(known, key=lambda verdict: verdict[1], default=None)
        if newest is not None and line["version"] < newest[1]:
            evidence = f"version {line['version']} was served after the verdict of version {newest[1]}"
            yield Violation("I13", evidence, f"assignment {line['assignment']}", newest[2])


def check_tenants(run: Run) -> Iterator[Violation]:
    """I14: no record of a root account holds a text of another one."""
    for topics in run.readers.values():
        for records in topics.values():
            for record in records:
                match = ROOT_ACCOUNT.search(record.headers.get("ce_source", ""))
                if match is None:
                    continue
                for tenant, canaries in run.tenant_canaries.items():
                    if tenant != match[1] and any(canary in record.value for canary in canaries):
                        yield Violation("I14", f"a record of {match[1]} has a text of {tenant}", str(record))


def check_secrecy(run: Run) -> Iterator[Violation]:
    """I15: no token, comment or name is in logs, metrics and headers of dead letters, whose values stay as received."""
    for name, lines in run.texts.items():
        for number, line in enumerate(lines, 1):
            yield from _find_secrets(run, line, f"{name}:{number}")
    for topics in run.readers.values():
        for record in topics.get("dead-letters", []):
            for name, value in record.headers.items():
                yield from _find_secrets(run, f"{name}: {value}", f"a header of {record}")


def _find_secrets(run: Run, text: str, place: str) -> Iterator[Violation]:
    if TOKEN.search(text):
        yield Violation("I15", "a token", place)
    for secret in run.secrets:
        if secret in text:
            yield Violation("I15", f"the text {secret!r}", place)


def check_bounded(run: Run) -> Iterator[Violation]:
    """I16: memory, open files, log lines and fencings of each process stay under the limits, during faults too.

    A process that was hardly sampled while it ran says nothing about its limits.
    """
    yield from _find_unsampled(run)
    by_process: dict[tuple[str, int], list[Json]] = defaultdict(list)
    for line in run.lines("sample"):
        by_process[line["process"], line["pid"]].append(line)
    for (process, _), samples in by_process.items():
        for name, limit in (("memory_mib", run.limits.memory_mib), ("open_files", run.limits.open_files)):
            worst = max(samples, key=lambda sample: sample.get(name, 0))
            if worst.get(name, 0) > limit:
                yield Violation("I16", f"{name} {worst[name]:.0f}, the limit is {limit:.0f}", process)
        rates = (("log_lines", run.limits.log_lines_per_minute), ("fenced", run.limits.fenced_per_minute))
        for name, limit in rates:
            increase = _largest_increase([sample for sample in samples if name in sample], name)
            if increase > limit:
                yield Violation("I16", f"{increase:.0f} {name} within a minute, the limit is {limit:.0f}", process)


def _largest_increase(samples: list[Json], name: str) -> float:
    """Return the largest increase of a counter within a minute."""
    largest, first = 0.0, 0
    for sample in samples:
        while samples[first]["at"] < sample["at"] - MINUTE_SECONDS:
            first += 1
        largest = max(largest, sample[name] - samples[first][name])
    return largest


def _find_unsampled(run: Run) -> Iterator[Violation]:
    counts = Counter(line["process"] for line in run.lines("sample") if "memory_mib" in line)
    fencings = {line["process"] for line in run.lines("sample") if "fenced" in line}
    for watched in run.lines("watched"):
        for process, seconds in _seconds_running(run.history, watched["at"]).items():
            due = seconds / watched["sample_seconds"]
            if seconds >= SHORT_SECONDS and counts[process] < SAMPLED_SHARE * due:
                yield Violation("I16", f"{counts[process]} samples, {due:.0f} were due", process)
            if seconds >= MINUTE_SECONDS and process.startswith("relay") and process not in fencings:
                yield Violation("I16", f"no sample of its fencings in {seconds:.0f} s", process)


def _seconds_running(history: list[Json], from_at: float) -> dict[str, float]:
    """Return how long each process ran after a time."""
    seconds: dict[str, float] = defaultdict(float)
    started: dict[str, float] = {}
    for line in history:
        if line["kind"] in ("started", "ended", "exit") and line["process"] in started:
            seconds[line["process"]] += max(line["at"] - max(started.pop(line["process"]), from_at), 0)
        if line["kind"] == "started":
            started[line["process"]] = line["at"]
    for process, at in started.items():
        seconds[process] += history[-1]["at"] - max(at, from_at)
    return seconds
