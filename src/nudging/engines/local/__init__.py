"""What engines with logits share."""
