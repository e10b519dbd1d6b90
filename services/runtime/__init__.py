"""Shared by all processes: startup, health endpoints, monitoring of servers, errors, HTTP."""
