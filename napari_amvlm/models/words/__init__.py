"""What a prompt says to a model: which words it was taught, prompts made of several words, and lists of words."""
