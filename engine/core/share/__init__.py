"""Share groups (KIP-932): the share coordinator, and the machine of a partition that a share group reads."""
