"""Worked examples: each folder is a world that Foveate can be tried on."""
