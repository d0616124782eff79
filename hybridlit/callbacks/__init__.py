"""Lightning callbacks that watch and steer the two components of a hybrid model."""
