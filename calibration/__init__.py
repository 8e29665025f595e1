"""What export needs to know: which frames, which canvases, which activation ranges."""
