"""Data for `pixelwise demo` and for tests: Oxford-IIIT Pet, and a synthetic data set of the same layout."""
