"""A folder of raw frames: sorted, reduced in the order of what needs what, kept up to date."""
