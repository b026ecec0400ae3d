"""Enrollment over Secure Transport, RFC 7030."""
