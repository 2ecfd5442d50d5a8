"""What people read: texts, the table of layers, pictures."""
