"""Whether results are right: what is expected, how far rounding may lead from it, and where it went wrong."""
