"""A system on a Kafka and PostgreSQL that know their clients, and allow what is listed."""
