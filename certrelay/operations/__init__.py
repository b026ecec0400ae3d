"""Operations, from request to end. An operation is one attempt to get one new version of one certificate."""
