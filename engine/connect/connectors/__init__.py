"""Connectors that come along, one system a module; see docs/connect.md."""
