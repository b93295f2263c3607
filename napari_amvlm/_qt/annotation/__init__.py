"""What is known of the image at hand: probabilities, thresholds, label values."""
