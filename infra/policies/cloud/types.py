"""Owns the resource types that several of the cloud policies speak of, by a short name."""

from __future__ import annotations

CLUSTERS = {
    "aws": "aws:eks/cluster:Cluster",
    "gcp": "gcp:container/cluster:Cluster",
    "azure": "azure-native:containerservice:ManagedCluster",
}
RDS, SQL, FLEXIBLE = (
    "aws:rds/instance:Instance",
    "gcp:sql/databaseInstance:DatabaseInstance",
    "azure-native:dbforpostgresql:Server",
)
ELASTICACHE, MEMORYSTORE = "aws:elasticache/replicationGroup:ReplicationGroup", "gcp:memorystore/instance:Instance"
REDIS, REDIS_DATABASE = "azure-native:redisenterprise:RedisEnterprise", "azure-native:redisenterprise:Database"
BLOBS, GCS, VAULT = "azure-native:storage:StorageAccount", "gcp:storage/bucket:Bucket", "azure-native:keyvault:Vault"
