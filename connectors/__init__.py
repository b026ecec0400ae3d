"""Certificate authorities: one module per kind. `base` is the contract, `registry` finds a connector by name."""
