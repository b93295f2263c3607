"""Runs of prompts in the background."""
