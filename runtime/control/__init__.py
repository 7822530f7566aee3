"""The control plane: who may call, how much is left, what happened. Depends on catalog and on runtime's shared modules.

`app` wires it; `gate` and `authorize` decide; `store` is PostgreSQL; `sessions`, `limits` and `principals` are Redis.
"""
