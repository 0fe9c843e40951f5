"""TLS and SASL of a client's connections, under the names of Kafka's ``client.properties``.

``properties.py`` (pure) reads the properties, ``jaas.py`` (pure) their ``sasl.jaas.config``, ``scram.py`` (pure) speaks
SCRAM; ``tls.py`` makes the TLS context and tells what its errors mean; ``sasl.py`` authenticates a connection;
``world.py`` gives a world whose connections are secured; ``librdkafka.py`` (pure) says the same to librdkafka.
"""
