"""The simulated annotator: a mouse, a person, a project and the rounds between annotating and learning."""
