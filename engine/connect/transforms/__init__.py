"""Changes that are made to records one by one on their way (``org.apache.kafka.connect.transforms``)."""
