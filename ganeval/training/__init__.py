"""Training of the reference generators. Nothing is imported here, so that the command line starts at once."""
