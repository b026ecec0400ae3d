"""An authority that is people."""
