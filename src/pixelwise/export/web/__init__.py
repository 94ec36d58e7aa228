"""The export target "web": a page that computes masks in a browser."""
