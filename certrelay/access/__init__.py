"""Who may do what: grants, and the owners of certificates."""
