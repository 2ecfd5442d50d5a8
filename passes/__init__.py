"""Passes: one a file; `catalog` lists them, `manager` runs and traces them."""
