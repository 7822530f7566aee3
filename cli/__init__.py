"""How people drive the platform: the `fleet` command. Depends on catalog, infra and runtime; nothing depends on it."""
