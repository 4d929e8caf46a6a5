"""Measurements of speed, as ratios taken in one process, the two sides in turn."""
