"""Plans: settings of a training derived from a data set, each with its reason."""
