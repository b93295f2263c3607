"""How released weights are made: images, prompts, batches, step 1 of the method, and what is measured of it."""
