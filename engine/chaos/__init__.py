"""Faults on real broker processes under real clients, judged by the history checker: ``python -m engine.chaos``."""
