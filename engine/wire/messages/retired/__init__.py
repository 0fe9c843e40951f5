"""Versions of messages that Kafka 3.9 has and 4.3 has not."""
