"""Kafka Streams in Python: topologies of streams and tables over any Kafka cluster."""
