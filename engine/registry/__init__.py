"""A schema registry with Confluent's REST interface, kept in the topic ``_schemas`` in Confluent's format.

Where to look: :mod:`engine.registry.registry` has what can be done, :mod:`engine.registry.state` what is known,
:mod:`engine.registry.topic_log` the topic, :mod:`engine.registry.server` HTTP; the three kinds of schemas stand in
``avro_*``, ``json_*`` and ``protobuf_*``. Source: "Schema Registry API Reference" and "Schema Evolution and
Compatibility" of Confluent's documentation; docs/registry.md says what differs.
"""
