"""Rules run on engines."""
