"""The foundation layer, once per cloud: mirrored modules that return the same contracts (infra.contracts)."""
