"""The embedded target: the platform's own parts as processes of this machine, on loopback, under one supervisor."""
