"""State stores: what a topology remembers, in bytes, with a changelog that a Java application can take over."""
