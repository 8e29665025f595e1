"""Frame -> instances: cameras, the semantic pass, regions, attention, packing, the instance pass."""
