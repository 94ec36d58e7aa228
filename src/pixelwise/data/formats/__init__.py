"""Data set formats, one module each. `registry` imports all of them, and the other modules do not import it."""
