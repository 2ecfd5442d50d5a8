"""Products of seven quarters in place of eight."""
