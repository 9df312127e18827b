"""Programs that train models as papers do: a file for each kind of row in `RESULTS.md`."""
