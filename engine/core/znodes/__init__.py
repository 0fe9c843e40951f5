"""Kafka's znodes (kafka.zk.ZkData of 3.9) and our own beside them: paths, codecs, records to operations and back."""
