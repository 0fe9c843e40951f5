"""What the bytes of keys and values mean: serdes, schema registries, rules by topic, masks."""
