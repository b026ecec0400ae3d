"""What makes the things that are published."""
