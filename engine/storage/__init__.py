"""Kafka's log directories: segments, indexes, checkpoints, producer state, recovery. Same files, same bytes."""
