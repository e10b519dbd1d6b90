"""The gateway: serves Canvas's HTTP API, sends writes as commands, answers from the log."""
