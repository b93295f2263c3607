"""Runs that are compared: their recipes, folders, learning, scores, pages, and the grids of them."""
