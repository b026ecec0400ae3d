"""Certificates as code: what a file wants, what is there, what would change, and doing it."""
