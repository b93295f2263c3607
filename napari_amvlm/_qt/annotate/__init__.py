"""The Annotate tab: type what to find, correct it, accept it."""
