"""What callers ask of certificates: create, import, adopt, edit, read and revoke them."""
