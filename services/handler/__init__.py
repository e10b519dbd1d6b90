"""The process that turns commands into the log: ``python -m services.handler``."""
