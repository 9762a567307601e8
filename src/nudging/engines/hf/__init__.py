"""Hugging Face models, run by transformers in this process."""
