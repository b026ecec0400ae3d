"""X.509 (RFC 5280) and the files it comes in. Knows no Azure, no settings and no clock."""
