"""Interactive queries of state stores: what is asked, who has it, and what becomes of several answers. Pure."""
