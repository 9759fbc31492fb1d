"""SemanIR (NeurIPS 2024) in the open: key-semantic attention, its backends, and the networks around it."""
