"""The partition replica as a state machine (Kafka: kafka.cluster.Partition, Replica, AbstractFetcherThread)."""
