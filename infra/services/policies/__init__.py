"""Who may talk to whom in the cluster, and how much a namespace may hold.

``roles`` says which pods there are (ours, and per chart), ``connections`` who talks to whom: the one table that
every NetworkPolicy is derived from. ``networks`` and ``quotas`` render, ``boundary`` registers.
"""
