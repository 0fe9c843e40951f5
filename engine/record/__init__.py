"""Record batches, version 2: read and patched in place, decoded only where someone must look inside. Pure."""
