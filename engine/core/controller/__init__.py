"""The metadata controller: what the cluster is (image) and how it changes (the controller machine)."""
