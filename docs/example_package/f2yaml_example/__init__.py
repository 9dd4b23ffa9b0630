"""Two primitives for f2yaml, as an example of a plug-in."""
