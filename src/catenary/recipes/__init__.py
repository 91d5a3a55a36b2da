"""Published systems as ready recipes."""
