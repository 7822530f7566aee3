"""The typed catalog: WHAT runs. Depends on no other package of this repository."""
