"""A fleet's year in minutes: `python3 dev.py simulate`. See docs/simulation.md."""
