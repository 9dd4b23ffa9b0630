"""Frames in, frames out: one module per family of primitives."""
