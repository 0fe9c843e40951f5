"""The console: a client of clusters, never of engine internals. ``console.gateway`` is its one door to the engine."""
