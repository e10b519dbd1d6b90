"""Metrics, logs and traces."""

import services

VERSION = services.__version__
