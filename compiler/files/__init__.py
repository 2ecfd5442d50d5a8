"""Files that a network comes from and goes to."""
