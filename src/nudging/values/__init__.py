"""What everything trades: tokens and answers, errors, and the seams of text."""
