"""Applications over the sample cluster's workload: ``kconsole streams run examples.streams.word_count:topology``."""
