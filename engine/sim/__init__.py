"""The deterministic world: whole brokers in one process, under virtual time, with faults, replayed from a seed."""
