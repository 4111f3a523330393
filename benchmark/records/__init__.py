"""The files of a run: records, predictions and trials of rates, of this version and of older ones."""
