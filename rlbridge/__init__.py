"""See the package docstring in a moment."""
