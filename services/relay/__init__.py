"""The process that brings the log to the topics, exactly once: ``python -m services.relay``."""
