"""The Azure that the app needs, on this machine. Nothing in it is deployed."""
