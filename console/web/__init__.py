"""The console in a browser: one server, and one console a tab, all over the same cluster."""
