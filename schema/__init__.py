"""What a YAML document may say: models, loader, checks. No numpy, no FITS."""
