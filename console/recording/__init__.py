"""The record of a cluster: what the console was shown of it, in one file, to be gone back to. ``codec`` and ``frames``
say how pictures become bytes, ``store`` is the file, ``recorder`` writes it, ``reader`` reads it, ``bundle``
exports."""
