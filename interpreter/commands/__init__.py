"""One module per sub-command; each imports only what it needs, when it runs."""
