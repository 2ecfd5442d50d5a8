"""Offsets in one arena for values that live at different times."""
