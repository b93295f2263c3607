"""The brush of the docks: strokes that spread over the image."""
