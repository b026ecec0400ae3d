"""Certificate authorities: one connector each, the contract they fulfil, and the registry that finds them."""
