"""Conditions for transforms (``org.apache.kafka.connect.transforms.predicates``)."""
