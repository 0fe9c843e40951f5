"""The Connect API: connectors move records between topics and other systems, in workers that share the work.

Terms, config names and formats are Kafka Connect's (``org.apache.kafka.connect``); see docs/connect.md.
"""
