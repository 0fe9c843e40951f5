"""Kafka Connect's REST API on a worker: one file a group of resources, over :class:`Herder` alone."""
