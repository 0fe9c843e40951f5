"""Between records' bytes and values with schemas (``org.apache.kafka.connect.storage``, ``.converters``, ``.json``)."""
