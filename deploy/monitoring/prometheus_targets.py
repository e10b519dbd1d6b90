"""targets.json for prometheus.yml: where the processes of an installation are."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent


def write_prometheus_config(folder: Path, processes: Mapping[str, str]) -> Path:
    """Put Prometheus's configuration into a folder, for processes at host:port by name; the configuration's path."""
    shutil.copytree(FOLDER / "rules", folder / "rules", dirs_exist_ok=True)
    jobs = [{"targets": [address], "labels": {"job": f"moderation-{name}"}} for name, address in processes.items()]
    (folder / "targets.json").write_text(json.dumps(jobs, indent=2))
    return Path(shutil.copy(FOLDER / "prometheus.yml", folder))
