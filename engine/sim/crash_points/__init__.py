"""Crash states of the storage code: the power is cut at every operation that it does to the disk, and it starts again.

``script.py`` and ``quorum_script.py`` do what brokers do to their files, as a seed has it; ``campaign.py`` looks at the
disk before each operation, forks it, cuts the fork's power and opens what is left; ``expected.py`` knows what must be
there, ``judge.py`` compares. ``python -m engine.sim.crash_points`` runs many seeds and counts the points.
"""
