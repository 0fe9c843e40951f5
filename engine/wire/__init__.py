"""Kafka's protocol: messages generated from its schemas, the codec, framing, the table of APIs. Pure."""
