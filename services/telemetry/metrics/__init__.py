"""All metrics, a module for each process; deploy/monitoring/metrics.md is generated from here.

Base units; no ids in labels. Label values come only from closed lists: types and reasons of the contract, partitions,
shards, topics, servers. ``server``: ``kafka`` or ``postgresql``; ``topic``: a name without prefix.
"""
