"""The Queue tab: the images of a project and their order."""
