"""The exit codes, the same for every command. They are documented in docs/cli.md."""

DONE = 0
UNEXPECTED = 1  # a fault of the command itself; and of `plan` alone, a wrong use
USAGE = 2
CHANGES = 2  # of `plan` alone: there is something to do
REFUSED = 3  # by CertRelay, its rules or the authority; and a certificate that was not issued
NOT_SIGNED_IN = 4
UNREACHABLE = 5
TIMED_OUT = 6
CLOSED = 141  # nobody reads the output any more; shells have it for other programs, too
INTERRUPTED = 130  # by Ctrl-C, as shells have it

# What `plan` raises inside, so that `main` tells it from a wrong use.
RAISED_FOR_CHANGES = 102
