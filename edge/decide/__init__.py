"""Instances -> events: tracks, counts at lines, verdicts at gates."""
