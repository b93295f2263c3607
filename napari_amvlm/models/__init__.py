"""The model, its checkpoints, and tiled inference. Imports torch; models never import losses."""
