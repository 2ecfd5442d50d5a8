"""The intermediate representation: graph, types, ops, text in and text out."""
