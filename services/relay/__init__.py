"""The process that publishes the log to the topics, exactly once: ``python -m services.relay``."""
