"""What the models of the course learn from; no chapter teaches it."""
