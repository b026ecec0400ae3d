"""An authority where people sign."""
