"""Training of the reference generators. Nothing is imported here, so that the command line starts at once."""

PRECISIONS = ("float32", "bf16", "tf32")
