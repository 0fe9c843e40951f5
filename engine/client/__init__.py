"""A Kafka protocol client over our own codec: inter-broker channels, administration, record inspection."""
