"""Samples and the scripted demonstration."""
