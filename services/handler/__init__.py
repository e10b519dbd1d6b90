"""The process that consumes commands from Kafka and appends decisions to the log: ``python -m services.handler``."""
