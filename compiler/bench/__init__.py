"""How long engines take, each in a process of its own."""
