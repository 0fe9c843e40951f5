"""Looking into the files of a log directory, ours or Apache Kafka's, without changing any. Kafka: DumpLogSegments.

Everything is read in pieces, so that a segment may have any size, and nothing is trusted: what a file claims is bounded
by what it has. A running broker's files may be read; the end of its active segment may then be half written.
"""
