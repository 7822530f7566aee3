"""Vault in the cluster: the chart's release, its certificate and seal, and the jobs that keep it in order.

On a cloud: three replicas over Raft, unsealed by the cloud's key through workload identity, recovery keys in the
cloud's secret store, hourly snapshots in its object storage. On a cluster you have, dev-grade: one replica without
a cloud key, whose unseal keys lie in a Kubernetes Secret beside it, opened by the bootstrap that runs every five minutes.
"""
