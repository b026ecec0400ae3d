"""The command `certrelay`."""
