"""A vocabulary from many small sets: corpus, referents, batches, run and scores."""
