"""FLAMINGOS-2: tags, descriptors and detector figures."""
