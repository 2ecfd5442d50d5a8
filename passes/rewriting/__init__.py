"""How passes change a graph: patterns and rules, a ledger of what was done, products and what folds into them."""
