"""Monitoring of an installation: Prometheus rules, Alertmanager routing, Grafana dashboards and the runbook."""
