"""Grafana dashboards, built with Grafana's own SDK and written as JSON by ``python -m deploy.monitoring``."""
