"""Conversations, and how each model reads them."""
