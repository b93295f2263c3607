"""The Learn tab: learn from accepted masks, judge and compare models."""
