"""Evaluation: tasks and their scores, methods, runs and reports."""
