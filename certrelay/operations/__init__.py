"""One operation, from request to end: one attempt to get one new version of one certificate."""
