"""The nodes of a topology: state machines over lists of records and stores, without a clock and without I/O."""
