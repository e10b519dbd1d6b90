"""Write a Prometheus configuration with the addresses of an installation's processes."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent


def write_prometheus_config(folder: Path, processes: Mapping[str, str]) -> Path:
    """Copy prometheus.yml and its rules to ``folder``, write targets.json, and return the path of prometheus.yml.

    ``processes``: host:port by process name. Alerts link to the runbook that the console among them serves.
    """
    shutil.copytree(FOLDER / "rules", folder / "rules", dirs_exist_ok=True)
    jobs = [{"targets": [address], "labels": {"job": f"moderation-{name}"}} for name, address in processes.items()]
    (folder / "targets.json").write_text(json.dumps(jobs, indent=2))
    settings, console = (FOLDER / "prometheus.yml").read_text(), processes.get("console")
    if console is not None:
        settings = settings.replace(
            "global:\n", f"global:\n  external_labels: {{console_url: 'http://{console}'}}\n", 1
        )
    (folder / "prometheus.yml").write_text(settings)
    return folder / "prometheus.yml"
