"""The model, its checkpoints, and tiled inference. Models never import losses.

This module itself loads no torch, so that `model_info` and `catalog` can be used without it.
"""
