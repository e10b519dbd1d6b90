"""Kafka: topics, partitioning, relay progress and client workarounds."""
