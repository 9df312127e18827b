"""Programs that measure the library; `RESULTS.md` has what they printed."""
