"""The group coordinator: one pure machine for each partition of ``__consumer_offsets`` (classic protocol)."""
