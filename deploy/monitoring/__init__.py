"""What operators install: Prometheus's rules and Alertmanager's, Grafana's dashboards, the runbook."""
