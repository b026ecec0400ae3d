"""Microsoft Active Directory Certificate Services."""
