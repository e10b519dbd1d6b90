"""The process that reads commands from Kafka and appends to the log: ``python -m services.handler``."""
