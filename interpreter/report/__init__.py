"""A product, or a night of them, as one HTML page that needs no network."""
