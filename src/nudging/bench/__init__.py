"""Measurements: what nudging costs beside the base model alone, as ratios in one run."""
