"""A simulation that is driven from outside, step by step, and taken back by replay."""
