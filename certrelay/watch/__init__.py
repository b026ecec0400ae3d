"""Watching the service itself: its timers watch each other, people are told, and the status says how it stands."""
