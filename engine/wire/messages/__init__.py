"""One module a message, generated from Kafka's schemas."""
