"""What light passes through: the rules of the circuit types, data phases, and the lowered form."""
