"""Words that everyone shares: identifiers, errors, configurations, notes. Pure."""
