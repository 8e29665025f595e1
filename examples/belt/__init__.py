"""A procedural factory conveyor belt with exact truth, streamed from a seed."""
