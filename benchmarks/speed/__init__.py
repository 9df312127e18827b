"""Programs that measure how much time and memory the library takes."""
