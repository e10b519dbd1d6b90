"""The event log in PostgreSQL: the only module with SQL on its tables."""
