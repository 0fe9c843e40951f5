"""What runs a topology on a cluster: a worker is one process that takes tasks from the group, processes and commits."""
