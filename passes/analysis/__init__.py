"""What a graph costs, holds and looks like: questions that change nothing."""
