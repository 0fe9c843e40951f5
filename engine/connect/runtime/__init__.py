"""Workers: what runs connectors and tasks, alone or as a group (``org.apache.kafka.connect.runtime``)."""
