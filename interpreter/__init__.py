"""What a recipe does: frames, primitives, plans and the commands."""
