"""Pure value widgets: they show and change values, and know neither viewer, model nor project."""
