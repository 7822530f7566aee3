"""Where the platform runs. Depends on catalog; never on runtime or cli."""
