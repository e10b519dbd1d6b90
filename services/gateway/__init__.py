"""The gateway: Canvas's HTTP API in, commands out, answers from the log."""
