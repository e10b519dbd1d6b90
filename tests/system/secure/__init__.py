"""A system on a Kafka and PostgreSQL that authenticate their clients and allow only listed operations."""
