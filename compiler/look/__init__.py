"""Looking inside a network: what its units see, prefer and answer to. Pictures of them, and the graphs that compute them."""
