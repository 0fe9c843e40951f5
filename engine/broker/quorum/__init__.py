"""Parts of the quorum's shell: the wire's messages, the quorum-state file, snapshots, peers.

:mod:`engine.broker.quorum_host` puts them together with the machine of :mod:`engine.core.raft`.
"""
