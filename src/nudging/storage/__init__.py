"""Files that survive a crash, and data that strangers wrote."""
