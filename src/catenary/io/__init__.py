"""Reading and writing pixels, one file a format family."""
