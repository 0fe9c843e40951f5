"""Drills: rehearsed failures of a cluster of their own, judged by what its clients saw (docs/drills.md)."""
