"""The language that networks are written in."""
