"""Adds the Debian packages of an image to a CycloneDX document: ``-m deploy.local.image_packages FILE IMAGE``."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

FORMAT = "${Package}\t${Version}\t${Architecture}\t${source:Package}\n"


def list_packages(image: str) -> list[dict[str, Any]]:
    """Return a component for each installed package. Raises CalledProcessError if the image cannot be run."""
    command = ["docker", "run", "--rm", "--network", "none", image, "dpkg-query", "--show", f"--showformat={FORMAT}"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [build_component(*line.split("\t")) for line in lines]


def build_component(name: str, version: str, architecture: str, source: str) -> dict[str, Any]:
    """Return a CycloneDX component; its package URL names the source package, by which Debian lists vulnerabilities."""
    purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}&distro=bookworm&upstream={quote(source)}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def main(file: Path, image: str) -> None:
    """Add the packages to the document."""
    document = json.loads(file.read_text())
    document["components"] += list_packages(image)
    file.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
