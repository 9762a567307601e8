"""Evaluation: tasks, decoding methods, runs, and what came of them."""
